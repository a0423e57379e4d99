//! The `OpenAPI` document: the committed copy is the served one, and it says what callers rely on.

use serde_json::{Value, json};

#[test]
fn the_committed_openapi_document_is_the_one_that_is_served() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    let served = wsc_gateway::api::openapi_json();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs")).unwrap();
        std::fs::write(path, &served).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == served,
        "docs/openapi.json is not what the code serves; write it anew with\n    \
         UPDATE_GOLDEN=1 cargo test -p wsc-gateway --test api_openapi"
    );
}

#[test]
fn the_openapi_document_is_3_1_and_names_every_route() {
    let document: Value = serde_json::from_str(&wsc_gateway::api::openapi_json()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths: Vec<&str> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        paths,
        [
            "/v1/agents",
            "/v1/agents/{agent}",
            "/v1/broadcasts",
            "/v1/broadcasts/log",
            "/v1/groups",
            "/v1/groups/{group}",
            "/v1/groups/{group}/log",
            "/v1/groups/{group}/members",
            "/v1/groups/{group}/members/{user}",
            "/v1/groups/{group}/messages",
            "/v1/messages",
            "/v1/queues",
            "/v1/records",
            "/v1/revocations",
            "/v1/sessions/{id}",
            "/v1/stats",
            "/v1/tickets",
            "/v1/tickets/{ticket}",
            "/v1/tickets/{ticket}/assign",
            "/v1/tickets/{ticket}/close",
            "/v1/tickets/{ticket}/log",
            "/v1/tickets/{ticket}/messages",
            "/v1/tickets/{ticket}/steps",
            "/v1/tickets/{ticket}/transfer",
            "/v1/users/online",
            "/v1/users/{user}/groups",
            "/v1/users/{user}/log",
            "/v1/users/{user}/sessions"
        ]
    );
    assert!(document["components"]["securitySchemes"]["bearer"].is_object());
    let send = &document["components"]["schemas"]["SendBody"];
    assert_eq!(send["additionalProperties"], json!(false));
    assert_eq!(send["required"], json!(["to"]));
    let refused = &document["paths"]["/v1/tickets/{ticket}/transfer"]["post"]["responses"];
    let statuses: Vec<&str> = refused
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let known = [
        "200", "400", "401", "403", "404", "409", "413", "415", "429", "501", "503",
    ];
    assert_eq!(statuses, known);
    let body = &refused["409"]["content"]["application/json"]["schema"]["$ref"];
    assert_eq!(body, "#/components/schemas/ErrorBody");
    let revoked = &document["paths"]["/v1/revocations"]["post"]["responses"]["503"];
    let said = revoked["description"].as_str().unwrap();
    assert!(said.contains("nothing was revoked"), "{said}");
}
