//! Leader election against the fake API server, on a clock that the test moves.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wsc_operator::lease::{Candidate, Election, Lost};

use crate::fake::Fake;

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/wsc-system/leases/wsc-operator";

fn election(fake: &Fake, identity: &str) -> Election {
    Election::new(
        fake.client(),
        Candidate {
            namespace: "wsc-system".to_owned(),
            name: "wsc-operator".to_owned(),
            identity: identity.to_owned(),
        },
    )
}

fn holder(fake: &Fake) -> String {
    let lease = fake.get(LEASE).unwrap();
    lease["spec"]["holderIdentity"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test(start_paused = true)]
async fn the_second_takes_over_only_when_the_first_is_silent_for_the_life_of_the_lease() {
    let (fake, token) = (Fake::default(), CancellationToken::new());
    let mut first = election(&fake, "first");
    first.acquire(&token, || {}).await.unwrap();
    assert_eq!(holder(&fake), "first");

    let began = tokio::time::Instant::now();
    let mut second = election(&fake, "second");
    second.acquire(&token, || {}).await.unwrap();
    assert!(
        began.elapsed() >= Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(holder(&fake), "second");
}

#[tokio::test(start_paused = true)]
async fn who_renews_keeps_the_lease_and_who_gives_it_back_is_followed_at_once() {
    let (fake, token) = (Fake::default(), CancellationToken::new());
    let mut first = election(&fake, "first");
    let since = first.acquire(&token, || {}).await.unwrap();
    let stop = token.child_token();
    let keep = async {
        let kept = first.keep(since, &stop).await;
        first.release().await;
        kept
    };
    let began = tokio::time::Instant::now();
    let mut second = election(&fake, "second");
    let follow = async {
        second.acquire(&token, || {}).await.unwrap();
        began.elapsed()
    };
    let end = async {
        tokio::time::sleep(Duration::from_mins(2)).await;
        stop.cancel();
    };
    let (kept, followed, ()) = tokio::join!(keep, follow, end);
    assert_eq!(kept, Ok(()));
    assert!(followed >= Duration::from_mins(2), "{followed:?}");
    assert!(followed < Duration::from_secs(125), "{followed:?}");
    assert_eq!(holder(&fake), "second");
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_cannot_renew_gives_up_before_the_lease_runs_out() {
    let (fake, token) = (Fake::default(), CancellationToken::new());
    let mut only = election(&fake, "only");
    let since = only.acquire(&token, || {}).await.unwrap();
    for _ in 0..20 {
        fake.fail("GET leases/wsc-operator", 500);
    }
    let began = tokio::time::Instant::now();
    assert_eq!(only.keep(since, &token).await, Err(Lost));
    assert!(
        began.elapsed() < Duration::from_secs(13),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_finds_another_in_its_place_stops() {
    let (fake, token) = (Fake::default(), CancellationToken::new());
    let mut first = election(&fake, "first");
    let since = first.acquire(&token, || {}).await.unwrap();
    fake.edit(LEASE, |lease| {
        lease["spec"]["holderIdentity"] = "second".into();
    });
    assert_eq!(first.keep(since, &token).await, Err(Lost));
}
