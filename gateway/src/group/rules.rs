//! Who may do what with groups. Pure: a decision from what is known, with the reason when it is no.
//!
//! A client may join where its token's claim `groups` has a pattern that matches, or with the scope `groups` (which also lets
//! it make groups) or `admin`. Where the token is silent, a hook may say yes. Nothing in a query string counts.

use super::{Entry, Group, GroupPatterns};
use crate::protocol::{GroupId, UserId};
use crate::security::Scopes;

/// What is known of who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Who.
    pub user: &'a UserId,
    /// What the token lets them do.
    pub scopes: Scopes,
    /// Where the token lets them in.
    pub patterns: &'a GroupPatterns,
}

/// What a hook said about a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No hook was asked.
    Unasked,
    /// It may be.
    Allowed,
    /// It may not be.
    Denied,
}

/// Why not, in words for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Forbidden(pub String);

/// What the operator of the gateway allows in groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupRules {
    /// Whether there are groups.
    pub enabled: bool,
    /// Whether members can send to the whole group.
    pub broadcast: bool,
    /// Whether joining a group that does not exist makes it.
    pub auto_create: bool,
}

/// Whether the token alone lets its bearer join: then no hook needs to be asked.
pub fn token_admits(asker: &Asker<'_>, group: &GroupId) -> bool {
    manages(asker) || asker.patterns.matches(group)
}

/// Whether someone may join. A hook's word enters here, and counts where the token is silent.
pub fn may_join(asker: &Asker<'_>, group: &GroupId, verdict: Verdict) -> Result<(), Forbidden> {
    match verdict {
        _ if token_admits(asker, group) => Ok(()),
        Verdict::Allowed => Ok(()),
        Verdict::Denied => no(format!("group {group}: the application refused it")),
        Verdict::Unasked => no(format!(
            "group {group}: the token's claim groups has no pattern for it"
        )),
    }
}

/// How someone who may join enters: whether the group is made on the way.
pub const fn entry(rules: &GroupRules) -> Entry {
    if rules.auto_create {
        Entry::MakeIfMissing
    } else {
        Entry::Existing
    }
}

/// Whether someone may make a group. Where joining makes groups, whoever may join may.
pub fn may_create(
    asker: &Asker<'_>,
    group: &GroupId,
    (rules, verdict): (&GroupRules, Verdict),
) -> Result<(), Forbidden> {
    if manages(asker) {
        Ok(())
    } else if rules.auto_create {
        may_join(asker, group, verdict)
    } else {
        no(format!(
            "group {group}: the token's scope lacks \"groups\", which making groups takes"
        ))
    }
}

/// Whether someone may end a group: its owner, or an admin.
pub fn may_disband(asker: &Asker<'_>, group: &Group) -> Result<(), Forbidden> {
    if asker.scopes.contains(Scopes::ADMIN) || group.owner.as_ref() == Some(asker.user) {
        Ok(())
    } else {
        no(format!(
            "group {}: only its owner or an admin ends it",
            group.id
        ))
    }
}

/// Whether someone who is or is not a member may see a group and its members.
pub fn may_see(asker: &Asker<'_>, group: &GroupId, is_member: bool) -> Result<(), Forbidden> {
    if is_member || manages(asker) {
        Ok(())
    } else {
        no(format!("group {group}: only its members see it"))
    }
}

/// Whether a client may send to a group that it is in. Membership and rate are the store's to judge.
pub fn may_send(asker: &Asker<'_>, group: &GroupId, rules: &GroupRules) -> Result<(), Forbidden> {
    if rules.broadcast || asker.scopes.contains(Scopes::ADMIN) {
        Ok(())
    } else {
        no(format!(
            "group {group}: members do not send to the whole group (wsc.group.enableBroadcast)"
        ))
    }
}

fn manages(asker: &Asker<'_>) -> bool {
    asker.scopes.contains(Scopes::GROUPS) || asker.scopes.contains(Scopes::ADMIN)
}

const fn no(why: String) -> Result<(), Forbidden> {
    Err(Forbidden(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::Life;

    const RULES: GroupRules = GroupRules {
        enabled: true,
        broadcast: true,
        auto_create: false,
    };

    fn with<R>(scopes: Scopes, patterns: &[&str], f: impl FnOnce(&Asker<'_>, &GroupId) -> R) -> R {
        let (user, group) = (
            UserId::new("alice").unwrap(),
            GroupId::new("room-7").unwrap(),
        );
        let patterns = GroupPatterns::new(patterns).unwrap();
        let asker = Asker {
            user: &user,
            scopes,
            patterns: &patterns,
        };
        f(&asker, &group)
    }

    fn joins(scopes: Scopes, patterns: &[&str], verdict: Verdict) -> bool {
        with(scopes, patterns, |asker, group| {
            may_join(asker, group, verdict).is_ok()
        })
    }

    #[test]
    fn a_group_is_joined_by_claim_scope_or_hook_and_by_nothing_else() {
        assert!(joins(Scopes::NONE, &["room-*"], Verdict::Unasked));
        assert!(joins(Scopes::GROUPS, &[], Verdict::Unasked));
        assert!(joins(Scopes::ADMIN, &[], Verdict::Unasked));
        assert!(joins(Scopes::NONE, &[], Verdict::Allowed));
        assert!(!joins(Scopes::NONE, &[], Verdict::Unasked));
        assert!(!joins(Scopes::NONE, &["team-*"], Verdict::Denied));
        assert!(!joins(Scopes::BROADCAST, &[], Verdict::Unasked));
    }

    #[test]
    fn making_a_group_takes_a_scope_unless_joining_makes_it() {
        let creates = |scopes, auto_create| {
            let rules = GroupRules {
                auto_create,
                ..RULES
            };
            with(scopes, &["room-*"], |asker, group| {
                may_create(asker, group, (&rules, Verdict::Unasked)).is_ok()
            })
        };
        assert!(!creates(Scopes::NONE, false));
        assert!(creates(Scopes::NONE, true));
        assert!(creates(Scopes::GROUPS, false));
        assert_eq!(entry(&RULES), Entry::Existing);
        let auto_create = GroupRules {
            auto_create: true,
            ..RULES
        };
        assert_eq!(entry(&auto_create), Entry::MakeIfMissing);
    }

    #[test]
    fn a_group_is_ended_by_its_owner_or_an_admin_and_seen_by_its_members() {
        let ends = |scopes, owner: Option<&str>| {
            with(scopes, &["*"], |asker, id| {
                let group = Group {
                    id: id.clone(),
                    owner: owner.map(|owner| UserId::new(owner).unwrap()),
                    created_at: 0,
                    members: 1,
                    life: Life::Lasting,
                };
                may_disband(asker, &group).is_ok()
            })
        };
        assert!(ends(Scopes::NONE, Some("alice")));
        assert!(!ends(Scopes::GROUPS, Some("bob")));
        assert!(!ends(Scopes::NONE, None));
        assert!(ends(Scopes::ADMIN, None));
        let sees = |scopes, is_member| {
            with(scopes, &["*"], |asker, id| {
                may_see(asker, id, is_member).is_ok()
            })
        };
        assert!(sees(Scopes::NONE, true) && sees(Scopes::GROUPS, false));
        assert!(!sees(Scopes::NONE, false), "whoever may join joins first");
    }

    #[test]
    fn members_send_to_the_group_only_where_that_is_on() {
        let quiet = GroupRules {
            broadcast: false,
            ..RULES
        };
        let sends = |scopes, rules| {
            with(scopes, &["*"], |asker, id| {
                may_send(asker, id, rules).is_ok()
            })
        };
        assert!(sends(Scopes::NONE, &RULES));
        assert!(!sends(Scopes::GROUPS, &quiet));
        assert!(sends(Scopes::ADMIN, &quiet));
    }
}
