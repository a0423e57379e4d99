//! `wscctl tickets`: a customer is served from the terminal.

use super::{Ground, bare};

/// A running client of an agent who can do this.
fn agent(ground: &Ground, user: &str, skill: &str) -> super::Tail {
    let key = ground.file("jwt-key");
    let minted = ["token", "--user", user, "--type", "agent", "--skill", skill];
    let mut mint = bare(&[&minted[..], &["--key-file", &key]].concat());
    let minted = mint.output().unwrap();
    assert!(minted.status.success(), "{minted:?}");
    let token = String::from_utf8(minted.stdout).unwrap();
    ground.tail_with(user, token.trim(), &[])
}

/// Asks until the answer is as expected.
fn eventually(ground: &Ground, arguments: &[&str], expected: impl Fn(&serde_json::Value) -> bool) {
    let began = std::time::Instant::now();
    loop {
        let arguments = [arguments, &["--output", "json"]].concat();
        let output = ground.wscctl(&arguments).output().unwrap();
        let answer = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if expected(&answer) {
            return;
        }
        assert!(
            began.elapsed() < std::time::Duration::from_secs(20),
            "{arguments:?}: {output:?}"
        );
    }
}

#[test]
fn tickets_are_opened_found_assigned_handed_on_and_closed() {
    let ground = Ground::new("tickets", &["wsc.ticket.enableAck=false"]);
    let opened = ground.json(&[
        "tickets",
        "open",
        "alice",
        "--id",
        "t/1",
        "--skill",
        "billing",
        "--priority",
        "high",
        "--subject",
        "late",
    ]);
    assert_eq!(
        (&opened["ticket_id"], &opened["status"], &opened["priority"]),
        (&"t/1".into(), &"waiting".into(), &"high".into())
    );
    let table = ground.wscctl(&["tickets", "queues"]).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.starts_with("QUEUE") && table.contains("billing   1"),
        "{table}"
    );
    let _ann = agent(&ground, "ann", "billing");
    let _ben = agent(&ground, "ben", "lang:de");
    for name in ["ann", "ben"] {
        eventually(&ground, &["tickets", "agent", name], |known| {
            known["status"] == "online"
        });
    }
    eventually(&ground, &["tickets", "show", "t/1"], |ticket| {
        ticket["status"] == "assigned"
    });
    let holder = ground.json(&["tickets", "show", "t/1"])["agent"].clone();
    let holder = holder.as_str().unwrap();
    let other = if holder == "ann" { "ben" } else { "ann" };
    let said = ground.fails(&["tickets", "assign", "t/1", "--agent", other], 1);
    assert!(
        said.contains("not offered") && said.contains("(rejected)"),
        "{said}"
    );
    let active = ground.json(&[
        "tickets", "assign", "t/1", "--agent", holder, "--by", "boss",
    ]);
    assert_eq!(active["status"], "active");
    let sent = ground.json(&["tickets", "send", "t/1", "--from", "shop", "hello"]);
    assert!(sent["pos"].is_string(), "{sent}");
    let said = ground
        .wscctl(&["tickets", "messages", "t/1"])
        .output()
        .unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.contains("ticket.opened") && said.contains("hello"),
        "{said}"
    );
    let list = ground.json(&["tickets", "list", "--agent", holder, "--queue", "billing"]);
    assert_eq!(list["tickets"][0]["ticket_id"], "t/1", "{list}");
    let none = ground.json(&["tickets", "list", "--status", "waiting"]);
    assert_eq!(none["tickets"], serde_json::json!([]));

    ground.json(&["tickets", "set-agent", holder, "away", "--max", "2"]);
    let agents = ground.json(&["tickets", "agents"]);
    let known = agents["agents"].as_array().unwrap();
    let known = known.iter().find(|known| known["agent"] == holder).unwrap();
    assert_eq!(
        (&known["status"], &known["max"]),
        (&"away".into(), &2.into())
    );
    let moved = ground.json(&["tickets", "transfer", "t/1", "--agent", other]);
    assert_eq!(
        (&moved["status"], &moved["agent"]),
        (&"assigned".into(), &other.into())
    );
    let moved = ground.json(&["tickets", "transfer", "t/1", "--general", "--by", "boss"]);
    assert_eq!(moved["queue"], "general", "{moved}");
    let closed = ground.json(&["tickets", "close", "t/1", "--by", "boss"]);
    assert_eq!(closed["tickets"][0]["closed_by"], "boss", "{closed}");
    let steps = ground
        .wscctl(&["tickets", "steps", "t/1"])
        .output()
        .unwrap();
    let steps = String::from_utf8(steps.stdout).unwrap();
    let last = steps.lines().last().unwrap();
    assert!(last.contains("because=asked by=boss"), "{steps}");
    assert!(
        steps.contains("by=boss from=") && steps.contains("queue=general"),
        "{steps}"
    );
}

#[test]
fn what_the_desk_refuses_and_what_is_misused_have_their_exit_codes() {
    let ground = Ground::new("tickets-codes", &["wsc.ticket.enableTransfer=false"]);
    ground.fails(&["tickets", "show", "none"], 3);
    ground.fails(&["tickets", "agent", "nobody"], 3);
    ground.fails(&["tickets", "set-agent", "nobody", "away"], 3);
    ground.fails(&["tickets", "set-agent", "nobody", "busy"], 2);
    ground.fails(&["tickets", "transfer", "t1"], 2);
    ground.fails(
        &["tickets", "transfer", "t1", "--agent", "a", "--skill", "b"],
        2,
    );
    ground.fails(&["tickets", "list", "--status", "lost"], 2);
    ground.fails(&["tickets", "close"], 2);
    ground.json(&["tickets", "open", "alice", "--id", "t1"]);
    let said = ground.fails(&["tickets", "transfer", "t1", "--agent", "ann"], 1);
    assert!(said.contains("enableTransfer"), "{said}");
    let said = ground.fails(&["tickets", "open", "bob", "--id", "t1"], 1);
    assert!(said.contains("(exists)"), "{said}");
    let off = Ground::new("tickets-off", &["wsc.ticket.enabled=false"]);
    let said = off.fails(&["tickets", "list"], 1);
    assert!(said.contains("wsc.ticket.enabled"), "{said}");
}
