//! The calls about groups over real sockets, by HTTP and gRPC: what reaches the service and what comes back.

use reqwest::Method;
use serde_json::{Value, json};
use tonic::Code;
use wsc_proto::v1;
use wsc_proto::v1::group_service_client::GroupServiceClient;

use super::support::grpc::{GrpcApi, keyed};
use super::support::http::HttpApi;
use super::support::service::Call;

async fn put(api: &HttpApi, path: &str) -> (u16, Value) {
    HttpApi::answer(api.request(Method::PUT, path)).await
}

fn named(call: &'static str, names: &[&str]) -> Call {
    Call::Group(call, names.iter().map(|name| (*name).to_owned()).collect())
}

#[tokio::test]
async fn each_path_is_its_call() {
    let api = HttpApi::start().await;
    let made = api
        .call(Method::POST, "/v1/groups", r#"{"id":"room","owner":"ann"}"#)
        .await;
    let group = json!({"id": "room", "owner": "ann", "created_at": 1_800_000_000_000_u64,
        "members": 2, "lasting": true});
    assert_eq!(made, (201, group));
    let (status, group) = api.call(Method::GET, "/v1/groups/a%2Fb", "").await;
    assert_eq!((status, &group["id"]), (200, &json!("a/b")));
    let page = api
        .call(Method::GET, "/v1/groups/room/members?limit=1&cursor=7", "")
        .await;
    let began = 1_800_000_000_000_u64;
    let members =
        json!({"members": [{"user_id": "bob", "since": began}], "next_cursor": began * 1000});
    assert_eq!(page, (200, members));
    let added = put(&api, "/v1/groups/room/members/bob%20b").await;
    let answer = json!({"user_id": "bob b", "since": began, "already": false});
    assert_eq!(added, (200, answer));
    let done = (200, json!({"id": "room"}));
    let removed = api.call(Method::DELETE, "/v1/groups/room/members/bob", "");
    assert_eq!(removed.await, done);
    assert_eq!(api.call(Method::DELETE, "/v1/groups/room", "").await, done);
    let list = api.call(Method::GET, "/v1/users/bob/groups", "").await;
    assert_eq!(
        list,
        (200, json!({"groups": [{"id": "room", "since": began}]}))
    );
    let sent = api
        .call(
            Method::POST,
            "/v1/groups/room/messages",
            r#"{"content":"hi"}"#,
        )
        .await;
    assert_eq!(
        sent,
        (200, json!({"id": "m1", "local_sessions": 2, "nodes": 1}))
    );
    let calls = api.recorder.calls();
    let expected = [
        named("create", &["room", "ann"]),
        named("get", &["a/b"]),
        named("members", &["room", "7", "1"]),
        named("add", &["room", "bob b"]),
        named("remove", &["room", "bob"]),
        named("disband", &["room"]),
        named("of_user", &["bob"]),
    ];
    assert_eq!(calls[..7], expected);
    let Call::GroupSend(group, message) = &calls[7] else {
        panic!("{:?}", calls[7])
    };
    assert_eq!(
        (group.as_str(), message.content.as_deref()),
        ("room", Some(r#""hi""#))
    );
}

#[tokio::test]
async fn what_cannot_be_done_is_told_by_status_and_code() {
    let api = HttpApi::start().await;
    for (method, path, body, status, code) in [
        (Method::GET, "/v1/groups/missing", "", 404, "missing"),
        (
            Method::POST,
            "/v1/groups",
            r#"{"id":"taken"}"#,
            409,
            "exists",
        ),
        (Method::DELETE, "/v1/groups/off", "", 501, "not_supported"),
        (
            Method::POST,
            "/v1/groups",
            r#"{"id":""}"#,
            400,
            "bad_request",
        ),
        (
            Method::POST,
            "/v1/groups",
            r#"{"id":"g","x":1}"#,
            400,
            "bad_request",
        ),
        (
            Method::GET,
            "/v1/groups/g/members?limit=0",
            "",
            400,
            "bad_request",
        ),
        (
            Method::GET,
            "/v1/groups/g/members?cursor=x",
            "",
            400,
            "bad_request",
        ),
    ] {
        let answer = api.call(method, path, body).await;
        assert_eq!(
            (answer.0, answer.1["error"]["code"].as_str()),
            (status, Some(code)),
            "{path} {body}"
        );
    }
    let full = put(&api, "/v1/groups/full/members/bob").await;
    assert_eq!(
        (full.0, &full.1["error"]["code"]),
        (409, &json!("limit_reached"))
    );
    let keyless = reqwest::get(api.url("/v1/groups/room")).await.unwrap();
    assert_eq!(keyless.status(), 401);
}

#[tokio::test]
async fn grpc_makes_the_same_calls() {
    let api = GrpcApi::start().await;
    let mut client = GroupServiceClient::new(api.channel().await);
    let group_id = || "room".to_owned();
    let user_id = || "bob".to_owned();
    let request = v1::CreateGroupRequest {
        group_id: group_id(),
        owner: String::new(),
    };
    let group = client
        .create_group(keyed(request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (group.group_id.as_str(), group.members, group.lasting),
        ("room", 2, true)
    );
    let request = v1::GetGroupRequest {
        group_id: group_id(),
    };
    client.get_group(keyed(request)).await.unwrap();
    let request = v1::ListMembersRequest {
        group_id: group_id(),
        limit: 0,
        cursor: 5,
    };
    let page = client
        .list_members(keyed(request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (page.members[0].user_id.as_str(), page.next_cursor > 0),
        ("bob", true)
    );
    let request = v1::AddMemberRequest {
        group_id: group_id(),
        user_id: user_id(),
    };
    assert!(
        !client
            .add_member(keyed(request))
            .await
            .unwrap()
            .into_inner()
            .already
    );
    let request = v1::RemoveMemberRequest {
        group_id: group_id(),
        user_id: user_id(),
    };
    client.remove_member(keyed(request)).await.unwrap();
    let request = v1::ListGroupsRequest { user_id: user_id() };
    let list = client
        .list_groups(keyed(request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(list.groups[0].group_id, "room");
    let request = v1::SendToGroupRequest {
        group_id: group_id(),
        message: None,
    };
    assert_eq!(
        client
            .send_to_group(keyed(request))
            .await
            .unwrap()
            .into_inner()
            .id,
        "m1"
    );
    let request = v1::DisbandGroupRequest {
        group_id: group_id(),
    };
    client.disband_group(keyed(request)).await.unwrap();
    let calls = api.recorder.calls();
    assert_eq!(calls[0], named("create", &["room"]));
    assert_eq!(calls[2], named("members", &["room", "5", "100"]));
    assert_eq!(calls[7], named("disband", &["room"]));
}

#[tokio::test]
async fn grpc_refuses_with_the_code_that_says_why() {
    let api = GrpcApi::start().await;
    let mut client = GroupServiceClient::new(api.channel().await);
    let code =
        |answer: Result<tonic::Response<v1::Group>, tonic::Status>| answer.unwrap_err().code();
    for (group, expected) in [
        ("missing", Code::NotFound),
        ("off", Code::Unimplemented),
        ("", Code::InvalidArgument),
    ] {
        let request = v1::GetGroupRequest {
            group_id: group.to_owned(),
        };
        assert_eq!(
            code(client.get_group(keyed(request)).await),
            expected,
            "{group}"
        );
    }
    let request = v1::GetGroupRequest {
        group_id: "room".to_owned(),
    };
    let keyless = client.get_group(tonic::Request::new(request)).await;
    assert_eq!(code(keyless), Code::Unauthenticated);
}
