//! The certificate that replicas share in a Secret, against the fake API server.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::json;
use wsc_operator::certificate::{CertificateError, Current, Keeper, Wanted};

use crate::fake::{Fake, Seen};

const SECRET: &str = "/api/v1/namespaces/wsc-system/secrets/wsc-operator-api";

fn keeper(fake: &Fake) -> (Keeper, Current) {
    let wanted = Wanted {
        namespace: "wsc-system".to_owned(),
        secret: "wsc-operator-api".to_owned(),
        names: vec!["wsc-operator-api.wsc-system.svc".to_owned()],
    };
    Keeper::new(fake.client(), wanted)
}

/// What the chart makes.
fn with_secret() -> Fake {
    let fake = Fake::default();
    let secret = json!({"metadata": {"name": "wsc-operator-api", "namespace": "wsc-system"}});
    fake.put(SECRET, secret);
    fake
}

fn bundle(current: &Current) -> String {
    let current = current.borrow();
    current.as_ref().unwrap().authorities().to_owned()
}

#[tokio::test]
async fn the_first_replica_fills_the_secret_and_the_others_show_what_is_in_it() {
    let fake = with_secret();
    let now = Timestamp::now();
    let (mut first, shown) = keeper(&fake);
    assert!(shown.borrow().is_none());
    first.look(now).await.unwrap();
    let (mut second, shown_too) = keeper(&fake);
    second.look(now).await.unwrap();
    assert_eq!(bundle(&shown), bundle(&shown_too));
    fake.take_seen();
    for keeper in [&mut first, &mut second] {
        keeper.look(now).await.unwrap();
    }
    let lines: Vec<String> = fake.take_seen().iter().map(Seen::line).collect();
    assert_eq!(lines, ["GET secrets/wsc-operator-api"; 2]);
}

#[tokio::test]
async fn of_two_that_renew_at_once_one_wins_and_the_other_shows_that_ones() {
    let fake = with_secret();
    let (mut first, shown) = keeper(&fake);
    let (mut second, shown_too) = keeper(&fake);
    // What the loser reads is older than what it meets.
    fake.fail("MERGE secrets/wsc-operator-api", 409);
    second.look(Timestamp::now()).await.unwrap();
    first.look(Timestamp::now()).await.unwrap();
    assert_eq!(bundle(&shown), bundle(&shown_too));
    let later = Timestamp::now() + SignedDuration::from_hours(70 * 24);
    let before = fake.get(SECRET).unwrap();
    first.look(later).await.unwrap();
    second.look(later).await.unwrap();
    let after = fake.get(SECRET).unwrap();
    assert_ne!(before["data"]["tls.crt"], after["data"]["tls.crt"]);
    assert_eq!(before["data"]["ca.crt"], after["data"]["ca.crt"]);
}

#[tokio::test]
async fn without_its_secret_nothing_is_made_and_what_was_shown_stays() {
    let fake = Fake::default();
    let (mut only, shown) = keeper(&fake);
    let missing = only.look(Timestamp::now()).await;
    assert!(matches!(missing, Err(CertificateError::NoSecret { .. })));
    assert!(shown.borrow().is_none());

    let fake = with_secret();
    let (mut only, shown) = keeper(&fake);
    only.look(Timestamp::now()).await.unwrap();
    let before = bundle(&shown);
    fake.remove(SECRET);
    assert!(only.look(Timestamp::now()).await.is_err());
    assert_eq!(bundle(&shown), before);
}
