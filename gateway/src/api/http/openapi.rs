//! The `OpenAPI` document, made from the handlers and their types. A committed copy is in `docs/openapi.json`.

use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::error::ErrorBody;
use super::{agents, groups, logs, messages, records, revocations, sessions, tickets};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "WSC gateway",
        description = "Messages to connected users, who is online, and ending sessions. Every call works on any node for the whole cluster.",
    ),
    paths(
        messages::send,
        messages::broadcast,
        logs::broadcasts,
        logs::inbox,
        logs::group,
        logs::ticket,
        groups::create,
        groups::get,
        groups::disband,
        groups::members,
        groups::add,
        groups::remove,
        groups::send,
        groups::of_user,
        tickets::open,
        tickets::list,
        tickets::get,
        tickets::steps,
        tickets::assign,
        tickets::hand_on,
        tickets::close,
        tickets::send,
        agents::list,
        agents::get,
        agents::set,
        agents::queues,
        records::list,
        sessions::online,
        sessions::list,
        sessions::kick_user,
        sessions::kick_session,
        revocations::revoke,
        sessions::stats,
    ),
    components(schemas(ErrorBody)),
    modifiers(&Keys),
    security(("bearer" = []), ("apiKey" = [])),
    tags(
        (name = "messages", description = "Sending"),
        (name = "logs", description = "What was sent, and what became of it"),
        (name = "groups", description = "Groups of users"),
        (name = "tickets", description = "Customer service: tickets, agents and queues"),
        (name = "sessions", description = "Who is online"),
        (name = "statistics", description = "Counts"),
    )
)]
struct Document;

/// The two headers a key may come in.
struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The gateway's API key"))
            .build();
        let header = ApiKeyValue::with_description("X-API-Key", "The gateway's API key");
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        components.add_security_scheme("apiKey", SecurityScheme::ApiKey(ApiKey::Header(header)));
    }
}

/// The document as indented JSON, with a newline at its end.
pub fn openapi_json() -> String {
    match Document::openapi().to_pretty_json() {
        Ok(mut json) => {
            json.push('\n');
            json
        }
        // Strings, numbers and maps with string keys: there is nothing JSON could refuse; a test reads the document.
        Err(error) => format!("{{\"error\":\"{error}\"}}\n"),
    }
}
