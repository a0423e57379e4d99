//! Leader election against the fake API server, on a clock that the test moves.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wsc_operator::lease::{Candidate, Election, Lost};

use crate::fake::Fake;

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/wsc-system/leases/wsc-operator";

/// Longer than a lease lives without renewal.
const LAST_WRITE: Duration = Duration::from_secs(20);

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
async fn the_lease_is_kept_until_the_last_write_and_then_followed_at_once() {
    let (fake, token) = (Fake::default(), CancellationToken::new());
    let mut first = election(&fake, "first");
    let since = first.acquire(&token, || {}).await.unwrap();
    // Told to stop after two minutes, it has a write under way for another twenty seconds.
    let work = async {
        tokio::time::sleep(Duration::from_mins(2)).await;
        tokio::time::sleep(LAST_WRITE).await;
        assert_eq!(holder(&fake), "first", "given back before the last write");
    };
    let began = tokio::time::Instant::now();
    let mut second = election(&fake, "second");
    let follow = async {
        second.acquire(&token, || {}).await.unwrap();
        began.elapsed()
    };
    let (held, followed) = tokio::join!(first.hold(since, work), follow);
    assert_eq!(held, Ok(()));
    assert!(
        followed >= Duration::from_mins(2) + LAST_WRITE,
        "{followed:?}"
    );
    assert!(followed < Duration::from_secs(145), "{followed:?}");
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
    assert_eq!(only.hold(since, std::future::pending()).await, Err(Lost));
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
    assert_eq!(first.hold(since, std::future::pending()).await, Err(Lost));
}
