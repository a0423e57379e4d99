//! What an application in process can do about groups and tickets: the same as a backend over the API, under the same limits.

use serde_json::json;
use wsc_gateway::Gateway;
use wsc_gateway::api::{ApiMessage, GroupCallError, TicketCallError};
use wsc_gateway::group::GroupError;
use wsc_gateway::protocol::{TicketId, UserId};
use wsc_gateway::service::{Outbound, OutboundError};
use wsc_gateway::ticket::{DeskError, NewTicket, Queue, Refusal};

use crate::client::Client;
use crate::sandbox::{Node, config, eventually};
use crate::tickets::{done, heard, next};

#[path = "../../examples/events.rs"]
#[allow(dead_code)]
mod reception;

const OPEN: &str = "wsc.security.enableAuth=false";

async fn start(sets: &[&str]) -> (Node, Outbound) {
    let builder = Gateway::builder().with_config(config(sets));
    let out = builder.outbound();
    let early = out.join("red", "alice").await;
    assert!(matches!(early, Err(OutboundError::NotRunning)), "{early:?}");
    assert!(out.groups().is_none() && out.tickets().is_none());
    (Node(builder.start().await.unwrap()), out)
}

async fn join(node: &Node, query: &str) -> Client {
    let url = format!("{}?{query}", node.ws());
    let mut client = Client::open(&url, &[]).await.unwrap();
    assert_eq!(client.next().await["type"], "welcome");
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_puts_users_into_groups_and_speaks_to_them_within_their_limits() {
    let (node, out) = start(&[
        OPEN,
        "wsc.group.enabled=true",
        "wsc.group.maxGroupsPerUser=1",
    ])
    .await;
    let mut alice = join(&node, "user_id=alice").await;
    out.create_group("red", Some("alice")).await.unwrap();
    assert!(out.join("red", "alice").await.unwrap().is_new);
    assert!(!out.join("red", "alice").await.unwrap().is_new);
    out.create_group("blue", None).await.unwrap();
    let full = out.join("blue", "alice").await.unwrap_err();
    let OutboundError::Group(GroupCallError::Group(full)) = full else {
        panic!("{full:?}");
    };
    assert!(matches!(full, GroupError::TooMany { .. }), "{full:?}");
    let message = ApiMessage::text("text", "application", "to red");
    let sent = out.send_to_group("red", message).await.unwrap();
    assert!(sent.position.is_some() && !sent.repeated, "{sent:?}");
    assert_eq!(heard(&mut alice).await, ["to red"]);
    let of = out.groups().unwrap();
    let groups = of.of_user(UserId::new("alice").unwrap()).await.unwrap();
    assert_eq!(groups.len(), 1, "{groups:?}");
    out.leave("red", "alice").await.unwrap();
    assert!(out.leave("red", "alice").await.is_err(), "she is not there");
    out.disband_group("red").await.unwrap();
    assert!(matches!(
        out.join("", "alice").await,
        Err(OutboundError::Recipient(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_opens_tickets_speaks_in_them_and_closes_them() {
    let (node, out) = start(&[OPEN]).await;
    let mut alice = join(&node, "user_id=alice").await;
    let mut ann = join(&node, "user_id=ann&user_type=agent").await;
    let new = NewTicket {
        queue: Queue::default(),
        subject: Some("a wrong invoice".to_owned()),
        ..NewTicket::of(UserId::new("alice").unwrap())
    };
    let opened = out.open_ticket(new.clone()).await.unwrap();
    assert_eq!(opened.customer, "alice");
    let offer = next(&mut ann, "ticket.assigned").await;
    assert_eq!(offer["ticket_id"], opened.ticket_id.as_str(), "{offer}");
    let accept = json!({"ticket_id": opened.ticket_id});
    done(&mut ann, "ticket.accept", accept).await;
    let note = ApiMessage::text("text", "billing", "she has paid");
    let said = out.send_to_ticket(&opened.ticket_id, note).await.unwrap();
    assert!(said.position.is_some());
    assert_eq!(heard(&mut ann).await, ["she has paid"]);
    let closed = out.close_ticket(&opened.ticket_id, "billing").await;
    assert_eq!(closed.unwrap().status, "closed");
    let over = next(&mut alice, "ticket.closed").await;
    assert_eq!(over["data"]["by"], "billing", "{over}");
    assert_eq!(out.open_ticket(new).await.unwrap().status, "closed");
    let missing = out.close_ticket("t-9", "billing").await.unwrap_err();
    let OutboundError::Ticket(TicketCallError::Desk(DeskError::Refused(why))) = missing else {
        panic!("{missing:?}");
    };
    assert_eq!(why, Refusal::NoTicket(TicketId::new("t-9").unwrap()));
    let agents = out.tickets().unwrap().agents(None, 10).await.unwrap();
    assert_eq!(agents.agents.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reception_of_the_example_welcomes_and_finds_help() {
    let sets = [OPEN, "wsc.group.enabled=true", "wsc.group.autoCreate=true"];
    let reception = reception::reception(config(&sets)).start().await.unwrap();
    let node = Node(reception);
    let mut alice = join(&node, "user_id=alice").await;
    let here = next(&mut alice, "news").await;
    assert_eq!(here["content"], "alice is here", "{here}");
    let mut ann = join(&node, "user_id=ann&user_type=agent").await;
    let here = next(&mut alice, "news").await;
    assert_eq!(here["content"], "ann is here", "{here}");
    eventually("ann is an agent", || async {
        let agents = node.0.tickets().agents(None, 10).await.unwrap().agents;
        agents.iter().any(|agent| agent.status == "online")
    })
    .await;
    alice
        .send(json!({"type": "help", "content": "my parcel is lost"}))
        .await;
    // What was said and who is to answer it go different ways: either may come first.
    let (mut said, mut accepted) = (None, false);
    while said.is_none() || !accepted {
        let frame = ann.next().await;
        match frame["type"].as_str() {
            Some("ticket.assigned") => {
                let data = json!({"ticket_id": frame["ticket_id"]});
                ann.send(json!({"type": "ticket.accept", "id": "accept", "data": data}))
                    .await;
            }
            Some("text") => said = Some(frame["content"].clone()),
            Some("result") => accepted = frame["ref"] == "accept",
            _ => {}
        }
    }
    assert_eq!(said, Some("my parcel is lost".into()));
}
