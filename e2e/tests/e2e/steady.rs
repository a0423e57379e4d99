//! The operator does nothing without need, restores what is taken from it, and leaves nothing behind.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use kube::ResourceExt;
use serde_json::json;
use tokio::time::{Instant, interval, timeout_at};
use wsc_e2e::chart;
use wsc_e2e::gateway::{Gateway, held};
use wsc_e2e::namespace::{READY_WITHIN, with_gateway};
use wsc_e2e::owned::{Identity, Inventory};
use wsc_e2e::resource::sample;
use wsc_e2e::wait::until;

/// How long nothing was written when things are at rest: longer than the operator takes between two looks at pods.
const RESTED_FOR: Duration = Duration::from_secs(12);
/// How long nothing may be written then.
const WATCHED_FOR: Duration = Duration::from_secs(30);
/// Until a child that was deleted or edited is as it was.
const RESTORED_WITHIN: Duration = Duration::from_secs(10);
/// Until the garbage collector and the last pod are done.
const GONE_WITHIN: Duration = Duration::from_secs(90);

#[tokio::test]
async fn nothing_is_written_without_need_children_come_back_and_deletion_leaves_nothing()
-> Result<()> {
    let _operator = chart::operator_in_use().await;
    with_gateway("steady", sample(2), async |gateway| {
        let inventory = Inventory::new(&gateway).await?;
        nothing_is_written(&gateway, &inventory).await?;
        children_come_back(&gateway, &inventory).await?;
        edits_are_undone(&gateway).await?;
        gateway.delete().await?;
        inventory.await_nothing(GONE_WITHIN).await
    })
    .await
}

type Versions = BTreeMap<Identity, String>;

async fn versions(gateway: &Gateway, inventory: &Inventory) -> Result<Versions> {
    let mut all: Versions = inventory
        .children()
        .await?
        .into_iter()
        .map(|(id, object)| (id, object.resource_version().unwrap_or_default()))
        .collect();
    let own = gateway.get().await?.resource_version().unwrap_or_default();
    all.insert(
        ("WebSocketGateway".to_owned(), gateway.name().to_owned()),
        own,
    );
    Ok(all)
}

/// Also after something that makes the operator look: a change of the resource that means nothing to it.
async fn nothing_is_written(gateway: &Gateway, inventory: &Inventory) -> Result<()> {
    // Whoever counts pods may still be catching up with the last one that became ready.
    let settled = versions(gateway, inventory).await?;
    ensure!(
        settled.len() >= 10,
        "only {} objects are owned: {:?}",
        settled.len(),
        settled.keys()
    );
    let mut last = (settled, Instant::now());
    until("everything to come to rest", READY_WITHIN, async || {
        let now = versions(gateway, inventory).await?;
        let written = written_since(&last.0, &now);
        if !written.is_empty() {
            last = (now, Instant::now());
        }
        Ok(held(last.1.elapsed() > RESTED_FOR, || {
            format!("last written: {written:?}")
        }))
    })
    .await?;

    gateway
        .patch(&json!({"metadata": {"annotations": {"example.org/note": "unchanged"}}}))
        .await?;
    let before = versions(gateway, inventory).await?;
    let end = Instant::now() + WATCHED_FOR;
    let mut pace = interval(Duration::from_secs(2));
    while timeout_at(end, pace.tick()).await.is_ok() {
        let written = written_since(&before, &versions(gateway, inventory).await?);
        ensure!(written.is_empty(), "written without need: {written:?}");
    }
    Ok(())
}

/// What was made, changed or removed between two looks.
fn written_since(before: &Versions, now: &Versions) -> Vec<Identity> {
    let all = before.keys().chain(now.keys());
    let mut written: Vec<Identity> = all
        .filter(|id| before.get(*id) != now.get(*id))
        .cloned()
        .collect();
    written.dedup();
    written
}

/// An object's name but for the digest at the end of a revision's: a password made anew is another revision.
fn lasting((kind, name): &Identity) -> (&str, &str) {
    let stem = name.rsplit_once('-').map_or(&**name, |(stem, _)| stem);
    let is_revision = kind == "ControllerRevision";
    (kind, if is_revision { stem } else { name })
}

/// What was edited, how, and a part of it as it is to be again.
const EDITS: [(&str, &str, &str); 5] = [
    (
        "service/chat",
        r#"{"spec": {"selector": {"somebody": "else"}}}"#,
        "{.spec.selector}",
    ),
    (
        "deployment/chat",
        r#"{"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}}"#,
        "{.spec.template.spec.terminationGracePeriodSeconds}",
    ),
    (
        "poddisruptionbudget/chat",
        r#"{"spec": {"selector": {"matchLabels": {"somebody": "else"}}}}"#,
        "{.spec.selector}",
    ),
    (
        "configmap/chat-config",
        r#"{"data": {"gateway.yaml": "nothing"}}"#,
        "{.data}",
    ),
    (
        "serviceaccount/chat",
        r#"{"automountServiceAccountToken": true}"#,
        "{.automountServiceAccountToken}",
    ),
];

async fn edits_are_undone(gateway: &Gateway) -> Result<()> {
    for (object, edit, part) in EDITS {
        let path = format!("jsonpath={part}");
        let get = ["get", object, "-o", &path];
        let before = gateway.kubectl(&get).await?;
        gateway
            .kubectl(&["patch", object, "--type=merge", "-p", edit])
            .await?;
        until(
            &format!("{object} to be as it was"),
            RESTORED_WITHIN,
            async || {
                let now = gateway.kubectl(&get).await?;
                Ok(held(now == before, || now.clone()))
            },
        )
        .await?;
    }
    gateway.await_ready(2, READY_WITHIN).await.map(drop)
}

async fn children_come_back(gateway: &Gateway, inventory: &Inventory) -> Result<()> {
    let before = inventory.children().await?;
    for (id, child) in &before {
        inventory.delete(id).await?;
        until(
            &format!("{} {} to come back", id.0, id.1),
            RESTORED_WITHIN,
            async || {
                let now = inventory.children().await?;
                let new = now
                    .get(id)
                    .is_some_and(|object| object.uid() != child.uid());
                Ok(held(new, || format!("{} objects", now.len())))
            },
        )
        .await?;
    }
    let after = inventory.children().await?;
    ensure!(
        after.keys().map(lasting).eq(before.keys().map(lasting)),
        "not the same objects as before: {:?}",
        after.keys()
    );
    gateway.await_ready(2, READY_WITHIN).await?;
    gateway.await_mesh(2, READY_WITHIN).await?;
    Ok(())
}
