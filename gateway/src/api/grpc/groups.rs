//! `wsc.v1.GroupService`: the calls about groups, converted there and back.

use tonic::{Request, Response, Status};
use wsc_proto::v1;
use wsc_proto::v1::group_service_server::GroupService;

use super::super::calls::{ApiContext, group, page, user};
use super::super::groups::GroupSendOutcome;
use super::{answered, convert};
use crate::group::{Generation, Group, Life, MembersPage};
use crate::telemetry::ApiMethod;

/// The implementation of the service.
pub(super) struct GrpcGroups(ApiContext);

impl GrpcGroups {
    pub(super) fn new(context: ApiContext) -> Self {
        Self(context)
    }
}

#[tonic::async_trait]
impl GroupService for GrpcGroups {
    async fn create_group(
        &self,
        request: Request<v1::CreateGroupRequest>,
    ) -> Result<Response<v1::Group>, Status> {
        let v1::CreateGroupRequest { group_id, owner } = request.into_inner();
        let work = async {
            let owner = convert::given(owner);
            let owner = owner.map(|id| user("owner", &id)).transpose()?;
            let id = group("group_id", &group_id)?;
            Ok(known(self.0.groups.create(id, owner).await?))
        };
        answered(&self.0, ApiMethod::CreateGroup, work).await
    }

    async fn disband_group(
        &self,
        request: Request<v1::DisbandGroupRequest>,
    ) -> Result<Response<v1::DisbandGroupResponse>, Status> {
        let v1::DisbandGroupRequest { group_id } = request.into_inner();
        let work = async {
            self.0.groups.disband(group("group_id", &group_id)?).await?;
            Ok(v1::DisbandGroupResponse {})
        };
        answered(&self.0, ApiMethod::DisbandGroup, work).await
    }

    async fn get_group(
        &self,
        request: Request<v1::GetGroupRequest>,
    ) -> Result<Response<v1::Group>, Status> {
        let v1::GetGroupRequest { group_id } = request.into_inner();
        let work = async {
            let id = group("group_id", &group_id)?;
            Ok(known(self.0.groups.get(id).await?))
        };
        answered(&self.0, ApiMethod::GetGroup, work).await
    }

    async fn list_members(
        &self,
        request: Request<v1::ListMembersRequest>,
    ) -> Result<Response<v1::ListMembersResponse>, Status> {
        let v1::ListMembersRequest {
            group_id,
            limit,
            cursor,
        } = request.into_inner();
        let work = async {
            let asked = convert::limit(limit);
            let (limit, id) = (page(asked)?, group("group_id", &group_id)?);
            let page = self.0.groups.members(id, Generation(cursor), limit).await?;
            Ok(members(page))
        };
        answered(&self.0, ApiMethod::ListMembers, work).await
    }

    async fn add_member(
        &self,
        request: Request<v1::AddMemberRequest>,
    ) -> Result<Response<v1::AddMemberResponse>, Status> {
        let v1::AddMemberRequest { group_id, user_id } = request.into_inner();
        let work = async {
            let (id, user) = (group("group_id", &group_id)?, user("user_id", &user_id)?);
            let joined = self.0.groups.add(id, user).await?;
            Ok(v1::AddMemberResponse {
                since: joined.generation.millis(),
                already: !joined.is_new,
            })
        };
        answered(&self.0, ApiMethod::AddMember, work).await
    }

    async fn remove_member(
        &self,
        request: Request<v1::RemoveMemberRequest>,
    ) -> Result<Response<v1::RemoveMemberResponse>, Status> {
        let v1::RemoveMemberRequest { group_id, user_id } = request.into_inner();
        let work = async {
            let (id, user) = (group("group_id", &group_id)?, user("user_id", &user_id)?);
            self.0.groups.remove(id, user).await?;
            Ok(v1::RemoveMemberResponse {})
        };
        answered(&self.0, ApiMethod::RemoveMember, work).await
    }

    async fn list_groups(
        &self,
        request: Request<v1::ListGroupsRequest>,
    ) -> Result<Response<v1::ListGroupsResponse>, Status> {
        let v1::ListGroupsRequest { user_id } = request.into_inner();
        let work = async {
            let groups = self.0.groups.of_user(user("user_id", &user_id)?).await?;
            let groups = groups
                .into_iter()
                .map(|(group, generation)| v1::GroupMembership {
                    group_id: group.to_string(),
                    since: generation.millis(),
                });
            Ok(v1::ListGroupsResponse {
                groups: groups.collect(),
            })
        };
        answered(&self.0, ApiMethod::ListGroups, work).await
    }

    async fn send_to_group(
        &self,
        request: Request<v1::SendToGroupRequest>,
    ) -> Result<Response<v1::SendToGroupResponse>, Status> {
        let v1::SendToGroupRequest { group_id, message } = request.into_inner();
        let work = async {
            let id = group("group_id", &group_id)?;
            let message = convert::message(message.unwrap_or_default())?;
            Ok(sent(self.0.groups.send_to_group(id, message).await?))
        };
        answered(&self.0, ApiMethod::SendToGroup, work).await
    }
}

fn known(group: Group) -> v1::Group {
    v1::Group {
        group_id: group.id.to_string(),
        owner: group
            .owner
            .map(|owner| owner.to_string())
            .unwrap_or_default(),
        created_at: group.created_at,
        members: group.members,
        lasting: group.life == Life::Lasting,
    }
}

fn members(MembersPage { members, more }: MembersPage) -> v1::ListMembersResponse {
    let last = members.last().filter(|_| more);
    v1::ListMembersResponse {
        next_cursor: last.map_or(0, |member| member.generation.0),
        members: members
            .into_iter()
            .map(|member| v1::Member {
                user_id: member.user.to_string(),
                since: member.generation.millis(),
            })
            .collect(),
    }
}

fn sent(outcome: GroupSendOutcome) -> v1::SendToGroupResponse {
    let GroupSendOutcome {
        id,
        local_sessions,
        nodes,
        position,
        repeated,
    } = outcome;
    v1::SendToGroupResponse {
        id,
        local_sessions: convert::count(local_sessions),
        nodes: convert::count(nodes),
        pos: position.map(|at| at.to_string()).unwrap_or_default(),
        repeated,
    }
}
