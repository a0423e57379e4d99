//! Groups: making and ending them, who is in them, and messages to all of a group.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::calls::{ApiContext, group, page, user};
use super::super::fault::Fault;
use super::super::groups::GroupSendOutcome;
use super::body::{self, BroadcastBody};
use super::error::{BodyRefused, Conflict, ErrorBody, Missing, Off, Refused};
use crate::group::{Generation, Group, Life, MembersPage};
use crate::protocol::Position;
use crate::telemetry::{ApiKind, ApiMethod};

/// A group to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateGroupBody {
    /// Its id, 1 to 128 bytes.
    id: String,
    /// The user who may disband it beside admins; nobody if not given.
    owner: Option<String>,
}

/// Which page of the members.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct MembersQuery {
    /// At most so many members, 1 to 1000; 100 if not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before; none for the first page.
    cursor: Option<u64>,
}

/// A group.
#[derive(Serialize, ToSchema)]
pub(super) struct GroupAnswer {
    /// Its id.
    id: String,
    /// Who may disband it.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    /// Unix time in milliseconds.
    created_at: u64,
    /// How many are in it.
    members: u64,
    /// Whether it stays when its last member leaves.
    lasting: bool,
}

/// A page of members.
#[derive(Serialize, ToSchema)]
pub(super) struct MembersAnswer {
    /// In the order of joining.
    members: Vec<MemberAnswer>,
    /// Give this as `cursor` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<u64>,
}

/// A member.
#[derive(Serialize, ToSchema)]
pub(super) struct MemberAnswer {
    /// The user.
    user_id: String,
    /// Since when, Unix time in milliseconds.
    since: u64,
}

/// What became of a member to be added.
#[derive(Serialize, ToSchema)]
pub(super) struct AddedAnswer {
    /// The user.
    user_id: String,
    /// Since when, Unix time in milliseconds.
    since: u64,
    /// Whether the user was a member before.
    already: bool,
}

/// The groups of a user.
#[derive(Serialize, ToSchema)]
pub(super) struct GroupsAnswer {
    /// Ordered by id.
    groups: Vec<MembershipAnswer>,
}

/// One group of a user.
#[derive(Serialize, ToSchema)]
struct MembershipAnswer {
    /// The group.
    id: String,
    /// Since when the user is in it, Unix time in milliseconds.
    since: u64,
}

/// That something was done.
#[derive(Serialize, ToSchema)]
pub(super) struct GroupDone {
    /// The group.
    id: String,
}

/// What became of a message to a group.
#[derive(Serialize, ToSchema)]
pub(super) struct GroupSendAnswer {
    /// The message's id.
    id: String,
    /// Sessions on the node that answered which took the message.
    local_sessions: usize,
    /// Other nodes the message was handed to.
    nodes: usize,
    /// Where it stands in the group's log, `EPOCH.OFFSET`; absent: it was not stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pos: Option<Position>,
    /// Whether the same sender had sent this id before; nothing was done again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    repeated: bool,
}

impl From<Group> for GroupAnswer {
    fn from(
        Group {
            id,
            owner,
            created_at,
            members,
            life,
        }: Group,
    ) -> Self {
        Self {
            id: id.to_string(),
            owner: owner.map(|owner| owner.to_string()),
            created_at,
            members,
            lasting: life == Life::Lasting,
        }
    }
}

impl From<MembersPage> for MembersAnswer {
    fn from(MembersPage { members, more }: MembersPage) -> Self {
        let last = members.last().filter(|_| more);
        Self {
            next_cursor: last.map(|member| member.generation.0),
            members: members
                .into_iter()
                .map(|member| MemberAnswer {
                    user_id: member.user.to_string(),
                    since: member.generation.millis(),
                })
                .collect(),
        }
    }
}

impl From<GroupSendOutcome> for GroupSendAnswer {
    fn from(
        GroupSendOutcome {
            id,
            local_sessions,
            nodes,
            position,
            repeated,
        }: GroupSendOutcome,
    ) -> Self {
        Self {
            id,
            local_sessions,
            nodes,
            pos: position,
            repeated,
        }
    }
}

/// Makes a group without members. It lasts until it is disbanded.
#[utoipa::path(
    post, path = "/v1/groups", operation_id = "createGroup", tag = "groups",
    request_body = CreateGroupBody,
    responses(
        (status = 201, description = "The group", body = GroupAnswer),
        Refused, BodyRefused, Conflict, Off,
    )
)]
pub(super) async fn create(
    State(api): State<ApiContext>,
    request: Request,
) -> Result<(StatusCode, Json<GroupAnswer>), Fault> {
    let work = async {
        api.authenticate(request.headers())?;
        let body: CreateGroupBody = body::json(request, api.max_body.bytes()).await?;
        let id = group("id", &body.id)?;
        let owner = body.owner.map(|id| user("owner", &id)).transpose()?;
        let made = api.groups.create(id, owner).await?;
        Ok((StatusCode::CREATED, Json(made.into())))
    };
    api.run(ApiKind::Http, ApiMethod::CreateGroup, work).await
}

/// Tells what is known of a group.
#[utoipa::path(
    get, path = "/v1/groups/{group}", operation_id = "getGroup", tag = "groups",
    params(("group" = String, Path, description = "The group's id")),
    responses(
        (status = 200, description = "The group", body = GroupAnswer),
        Refused, Missing, Off,
    )
)]
pub(super) async fn get(
    State(api): State<ApiContext>,
    mut request: Request,
) -> Result<Json<GroupAnswer>, Fault> {
    let work = async {
        api.authenticate(request.headers())?;
        let id = group("group", &body::parameter(&mut request).await?)?;
        Ok(Json(api.groups.get(id).await?.into()))
    };
    api.run(ApiKind::Http, ApiMethod::GetGroup, work).await
}

/// Ends a group and all memberships in it; its members are told.
#[utoipa::path(
    delete, path = "/v1/groups/{group}", operation_id = "disbandGroup", tag = "groups",
    params(("group" = String, Path, description = "The group's id")),
    responses(
        (status = 200, description = "It is over", body = GroupDone),
        Refused, Missing, Off,
    )
)]
pub(super) async fn disband(
    State(api): State<ApiContext>,
    mut request: Request,
) -> Result<Json<GroupDone>, Fault> {
    let work = async {
        api.authenticate(request.headers())?;
        let id = group("group", &body::parameter(&mut request).await?)?;
        api.groups.disband(id.clone()).await?;
        Ok(Json(GroupDone { id: id.to_string() }))
    };
    api.run(ApiKind::Http, ApiMethod::DisbandGroup, work).await
}

/// Lists the members of a group in the order of joining.
#[utoipa::path(
    get, path = "/v1/groups/{group}/members", operation_id = "listMembers", tag = "groups",
    params(("group" = String, Path, description = "The group's id"), MembersQuery),
    responses(
        (status = 200, description = "A page of members", body = MembersAnswer),
        Refused, Missing, Off,
    )
)]
pub(super) async fn members(
    State(api): State<ApiContext>,
    mut request: Request,
) -> Result<Json<MembersAnswer>, Fault> {
    let work = async {
        api.authenticate(request.headers())?;
        let MembersQuery { limit, cursor } = body::query(request.uri())?;
        let (limit, after) = (page(limit)?, Generation(cursor.unwrap_or_default()));
        let id = group("group", &body::parameter(&mut request).await?)?;
        Ok(Json(api.groups.members(id, after, limit).await?.into()))
    };
    api.run(ApiKind::Http, ApiMethod::ListMembers, work).await
}

/// Makes a user a member, within the limits of groups.
#[utoipa::path(
    put, path = "/v1/groups/{group}/members/{user}", operation_id = "addMember", tag = "groups",
    params(("group" = String, Path, description = "The group's id"), ("user" = String, Path, description = "The user's id")),
    responses(
        (status = 200, description = "The user is a member", body = AddedAnswer),
        Refused, Missing, Conflict, Off,
    )
)]
pub(super) async fn add(
    State(api): State<ApiContext>,
    mut request: Request,
) -> Result<Json<AddedAnswer>, Fault> {
    let work = async {
        api.authenticate(request.headers())?;
        let (of, who) = body::two_parameters(&mut request).await?;
        let (id, user) = (group("group", &of)?, user("user", &who)?);
        let joined = api.groups.add(id, user.clone()).await?;
        Ok(Json(AddedAnswer {
            user_id: user.to_string(),
            since: joined.generation.millis(),
            already: !joined.is_new,
        }))
    };
    api.run(ApiKind::Http, ApiMethod::AddMember, work).await
}

/// Ends a membership.
#[utoipa::path(
    delete, path = "/v1/groups/{group}/members/{user}", operation_id = "removeMember", tag = "groups",
    params(("group" = String, Path, description = "The group's id"), ("user" = String, Path, description = "The user's id")),
    responses(
        (status = 200, description = "The user is no member any more", body = GroupDone),
        Refused, Missing, Off,
    )
)]
pub(super) async fn remove(
    State(api): State<ApiContext>,
    mut request: Request,
) -> Result<Json<GroupDone>, Fault> {
    let work = async {
        api.authenticate(request.headers())?;
        let (of, who) = body::two_parameters(&mut request).await?;
        let (id, user) = (group("group", &of)?, user("user", &who)?);
        api.groups.remove(id.clone(), user).await?;
        Ok(Json(GroupDone { id: id.to_string() }))
    };
    api.run(ApiKind::Http, ApiMethod::RemoveMember, work).await
}

/// Lists the groups that a user is in, connected or not.
#[utoipa::path(
    get, path = "/v1/users/{user}/groups", operation_id = "listGroups", tag = "groups",
    params(("user" = String, Path, description = "The user's id")),
    responses(
        (status = 200, description = "The groups", body = GroupsAnswer),
        Refused, Off,
    )
)]
pub(super) async fn of_user(
    State(api): State<ApiContext>,
    mut request: Request,
) -> Result<Json<GroupsAnswer>, Fault> {
    let work = async {
        api.authenticate(request.headers())?;
        let user = user("user", &body::parameter(&mut request).await?)?;
        let groups = api.groups.of_user(user).await?.into_iter();
        let groups = groups.map(|(group, generation)| MembershipAnswer {
            id: group.to_string(),
            since: generation.millis(),
        });
        Ok(Json(GroupsAnswer {
            groups: groups.collect(),
        }))
    };
    api.run(ApiKind::Http, ApiMethod::ListGroups, work).await
}

/// Sends a message to every session of every member, on whatever node they are.
#[utoipa::path(
    post, path = "/v1/groups/{group}/messages", operation_id = "sendToGroup", tag = "groups",
    params(("group" = String, Path, description = "The group's id")),
    request_body = BroadcastBody,
    responses(
        (status = 200, description = "Stored, where messages to groups are, and handed on", body = GroupSendAnswer),
        Refused, BodyRefused, Missing, Off,
        (status = 503, description = "Not stored, or other nodes were not reached", body = ErrorBody),
    )
)]
pub(super) async fn send(
    State(api): State<ApiContext>,
    mut request: Request,
) -> Result<Json<GroupSendAnswer>, Fault> {
    let work = async {
        api.authenticate(request.headers())?;
        let id = group("group", &body::parameter(&mut request).await?)?;
        let body: BroadcastBody = body::json(request, api.max_body.bytes()).await?;
        let sent = api.groups.send_to_group(id, body.into_message()?).await?;
        Ok(Json(sent.into()))
    };
    api.run(ApiKind::Http, ApiMethod::SendToGroup, work).await
}
