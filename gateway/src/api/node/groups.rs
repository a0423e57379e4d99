//! The calls about groups, done by this node.

use futures_util::future::BoxFuture;

use super::{NodeApi, check, message_id, outcome, room_by, unreached};
use crate::api::{ApiMessage, GroupCallError, GroupCalls, GroupSendOutcome};
use crate::cluster::{ClusterError, Forward};
use crate::delivery::{Route, Submission, awaited};
use crate::group::{Entry, Generation, Group, Joined, MembersPage, rules};
use crate::hub::Outgoing;
use crate::protocol::{GroupId, LogId, Target, UserId};

impl NodeApi {
    fn groups_on(&self) -> Result<(), GroupCallError> {
        if self.groups.settings().rules.enabled {
            Ok(())
        } else {
            Err(GroupCallError::Off)
        }
    }

    async fn send_group(
        &self,
        group: GroupId,
        message: ApiMessage,
    ) -> Result<GroupSendOutcome, GroupCallError> {
        self.groups_on()?;
        check(&message)?;
        let target = Target::Group(group.clone());
        self.possible(&target, &message)?;
        self.groups.get(&group).await?;
        let id = message_id(&message);
        let json = self.encode(&message, &id, &target);
        let route = Route::Group(group.clone());
        if self.keeps(&target, &message) {
            return self
                .store_for_group((group, route), (message, id), json)
                .await;
        }
        let outgoing = Outgoing::new(super::parcel(json));
        let local_sessions = self.hub.deliver_group(&group, &outgoing).await;
        let report = self.forward(room_by(), |report| Forward::Group {
            group,
            parcel: outgoing.parcel().clone(),
            holders: None,
            report,
        });
        Ok(GroupSendOutcome {
            id,
            local_sessions,
            nodes: outcome(report.await, local_sessions).await?,
            position: None,
            repeated: false,
        })
    }

    async fn store_for_group(
        &self,
        (group, route): (GroupId, Route),
        (message, id): (ApiMessage, String),
        json: bytes::Bytes,
    ) -> Result<GroupSendOutcome, GroupCallError> {
        let ((report, stored), (forwarded, nodes)) = (awaited(), awaited());
        let submission = Submission {
            log: LogId::Group(group),
            route,
            append: Self::append(&message, &id, json),
            report,
            forwarded: Some(forwarded),
        };
        self.delivery.submit(submission, room_by()).await;
        let accepted = stored.await.unwrap_or(Err(ClusterError::Disconnected));
        let accepted = accepted.map_err(unreached)?;
        // It is stored: nodes that are not reached now read it from there.
        let nodes: Result<Vec<usize>, ClusterError> = nodes.await.unwrap_or(Ok(Vec::new()));
        Ok(GroupSendOutcome {
            id,
            local_sessions: accepted.local_sessions,
            nodes: nodes.unwrap_or_default().into_iter().sum(),
            position: Some(accepted.position),
            repeated: accepted.repeated,
        })
    }
}

impl GroupCalls for NodeApi {
    fn create(
        &self,
        group: GroupId,
        owner: Option<UserId>,
    ) -> BoxFuture<'_, Result<Group, GroupCallError>> {
        Box::pin(async move {
            self.groups_on()?;
            self.groups.create(&group, owner.as_ref()).await?;
            Ok(self.groups.get(&group).await?)
        })
    }

    fn disband(&self, group: GroupId) -> BoxFuture<'_, Result<(), GroupCallError>> {
        Box::pin(async move {
            self.groups_on()?;
            Ok(self.groups.disband(&group).await?)
        })
    }

    fn get(&self, group: GroupId) -> BoxFuture<'_, Result<Group, GroupCallError>> {
        Box::pin(async move {
            self.groups_on()?;
            Ok(self.groups.get(&group).await?)
        })
    }

    fn members(
        &self,
        group: GroupId,
        after: Generation,
        limit: usize,
    ) -> BoxFuture<'_, Result<MembersPage, GroupCallError>> {
        Box::pin(async move {
            self.groups_on()?;
            Ok(self.groups.members(&group, after, limit).await?)
        })
    }

    fn add(&self, group: GroupId, user: UserId) -> BoxFuture<'_, Result<Joined, GroupCallError>> {
        Box::pin(async move {
            self.groups_on()?;
            let entry: Entry = rules::entry(&self.groups.settings().rules);
            Ok(self.groups.join(&group, &user, entry).await?.joined)
        })
    }

    fn remove(&self, group: GroupId, user: UserId) -> BoxFuture<'_, Result<(), GroupCallError>> {
        Box::pin(async move {
            self.groups_on()?;
            self.groups.leave(&group, &user).await?;
            Ok(())
        })
    }

    fn of_user(
        &self,
        user: UserId,
    ) -> BoxFuture<'_, Result<Vec<(GroupId, Generation)>, GroupCallError>> {
        Box::pin(async move {
            self.groups_on()?;
            Ok(self.groups.groups_of(&user).await?)
        })
    }

    fn send_to_group(
        &self,
        group: GroupId,
        message: ApiMessage,
    ) -> BoxFuture<'_, Result<GroupSendOutcome, GroupCallError>> {
        Box::pin(self.send_group(group, message))
    }
}
