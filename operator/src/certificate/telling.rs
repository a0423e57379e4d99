//! `Teller`: sees to it that the API server believes what is shown: at once when that changes, and now and then, since
//! others may write what it goes by.
//!
//! What another authority signed than what is shown is shown once the API server was told, and a little later. The
//! authorities that it was told before stay in the bundle for an hour, in which the other replicas follow.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::bundle::{Due, Others};
use super::{Current, Identity};
use crate::backoff::jittered;
use crate::error::Error;

/// From one look to the next.
const LOOK: Duration = Duration::from_secs(60);

/// The same after a look that failed, or that found nothing to tell it in.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The same after somebody else was faster, with what is most likely the same.
const LOOK_SOON: Duration = Duration::from_secs(1);

/// What was written is with every API server by then.
const SPREADS_WITHIN: Duration = Duration::from_secs(10);

/// How long authorities stay that stood there before.
const OTHERS_STAY: Duration = Duration::from_hours(1);

/// An object in which the API server is told whom to believe.
pub trait Registration: Send + 'static {
    /// Whose certificate it is about, for the log.
    const WHOSE: &'static str;

    /// One look: writes the bundle where it is not yet, see [`super::bundle::due`].
    fn tell(
        &mut self,
        bundle: &str,
        others: Others,
    ) -> impl Future<Output = Result<Told, Error>> + Send;
}

/// What a look came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The bundle stands there, alone.
    Alone,
    /// The bundle stands there, with other authorities.
    BesideOthers,
    /// What is there leads to somebody else, who is nobody's business here.
    Elsewhere,
    /// There is nothing to tell it in.
    Missing,
}

impl Told {
    /// What it came to where each bundle is as it was due.
    pub fn of<'a>(dues: impl IntoIterator<Item = &'a Due>) -> Self {
        if dues.into_iter().any(|due| due.has_others) {
            Self::BesideOthers
        } else {
            Self::Alone
        }
    }
}

/// What a listener needs of a teller.
#[derive(Clone, Debug)]
pub struct Telling {
    /// What is to be shown.
    pub shown: Current,
    /// Whether the API server was told of it. Once it was it stays so: what is shown waits for that.
    pub believed: watch::Receiver<bool>,
}

/// Tells the API server.
pub struct Teller<R> {
    registration: R,
    kept: Current,
    shown: watch::Sender<Option<Arc<Identity>>>,
    believed: watch::Sender<bool>,
    /// The authorities that were told of last.
    wanted: Option<String>,
    /// Since when others were seen in the bundle beside those.
    others_since: Option<Instant>,
}

/// What is done after a while, unless there is something else to be shown by then.
enum Next {
    Look(Duration),
    Show(Arc<Identity>),
}

impl<R: Registration> Teller<R> {
    /// Tells of what is kept.
    pub fn new(registration: R, kept: Current) -> (Self, Telling) {
        let (shown, is_shown) = watch::channel(None);
        let (believed, is_believed) = watch::channel(false);
        let teller = Self {
            registration,
            kept,
            shown,
            believed,
            wanted: None,
            others_since: None,
        };
        let telling = Telling {
            shown: is_shown,
            believed: is_believed,
        };
        (teller, telling)
    }

    /// Looks again and again until the token says stop.
    pub async fn run(mut self, token: CancellationToken) {
        loop {
            let kept = self.kept.borrow_and_update().clone();
            let next = match kept {
                Some(kept) => self.look(kept).await,
                None => Next::Look(LOOK),
            };
            let wait = match next {
                Next::Look(wait) => jittered(wait),
                Next::Show(_) => SPREADS_WITHIN,
            };
            tokio::select! {
                () = token.cancelled() => return,
                Ok(()) = self.kept.changed() => {}
                () = tokio::time::sleep(wait) => {
                    if let Next::Show(identity) = next {
                        self.shown.send_replace(Some(identity));
                    }
                }
            }
        }
    }

    async fn look(&mut self, kept: Arc<Identity>) -> Next {
        if self.can_be_shown_untold(&kept) {
            self.shown.send_replace(Some(Arc::clone(&kept)));
        }
        if self.wanted.as_deref() != Some(kept.authorities()) {
            // Those of a moment ago are among the others now, and have their own hour.
            self.wanted = Some(kept.authorities().to_owned());
            self.others_since = None;
        }
        let told = self
            .registration
            .tell(kept.authorities(), self.others())
            .await;
        match told {
            Ok(Told::Missing) => return Next::Look(LOOK_AGAIN),
            Ok(Told::BesideOthers) => {
                self.others_since.get_or_insert_with(Instant::now);
            }
            Ok(Told::Alone | Told::Elsewhere) => self.others_since = None,
            Err(Error::Conflict { .. }) => return Next::Look(LOOK_SOON),
            Err(error) => {
                let (whose, error) = (R::WHOSE, error.chain());
                warn!(whose, error, "the caBundle is not kept");
                return Next::Look(LOOK_AGAIN);
            }
        }
        self.believed.send_replace(true);
        let is_shown = self
            .shown
            .borrow()
            .as_ref()
            .is_some_and(|shown| Arc::ptr_eq(shown, &kept));
        if is_shown {
            Next::Look(LOOK)
        } else {
            Next::Show(kept)
        }
    }

    /// Nothing is lost by it where nothing is shown, and who believes the authorities of what is shown believes this as well.
    fn can_be_shown_untold(&self, kept: &Identity) -> bool {
        let shown = self.shown.borrow();
        shown
            .as_ref()
            .is_none_or(|shown| shown.authorities() == kept.authorities())
    }

    fn others(&self) -> Others {
        match self.others_since {
            Some(since) if since.elapsed() >= OTHERS_STAY => Others::Go,
            Some(_) | None => Others::Stay,
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;
    use parking_lot::Mutex;
    use tokio_util::task::TaskTracker;

    use super::super::bundle::due;
    use super::super::renewal::{self, renew};
    use super::*;

    /// The bundle that stands there, or that nobody has made the object yet.
    type Standing = Arc<Mutex<Option<String>>>;

    struct Fake(Standing);

    impl Registration for Fake {
        const WHOSE: &'static str = "test";

        async fn tell(&mut self, bundle: &str, others: Others) -> Result<Told, Error> {
            let mut standing = self.0.lock();
            let Some(standing) = standing.as_mut() else {
                return Ok(Told::Missing);
            };
            let due = due(standing.as_bytes(), bundle, others);
            let told = Told::of([&due]);
            if let Some(write) = due.write {
                *standing = write;
            }
            Ok(told)
        }
    }

    fn identity() -> Arc<Identity> {
        let (names, now) = (vec!["api.wsc-system.svc".to_owned()], Timestamp::now());
        let made = renew(None, &names, renewal::Due::Everything, now).unwrap();
        Arc::new(made.identity(&names, now).unwrap())
    }

    struct World {
        standing: Standing,
        kept: watch::Sender<Option<Arc<Identity>>>,
        telling: Telling,
        token: CancellationToken,
    }

    fn world(standing: Option<&str>) -> World {
        let standing: Standing = Arc::new(Mutex::new(standing.map(str::to_owned)));
        let (kept, current) = watch::channel(None);
        let (teller, telling) = Teller::new(Fake(Arc::clone(&standing)), current);
        let token = CancellationToken::new();
        TaskTracker::new().spawn(teller.run(token.clone()));
        World {
            standing,
            kept,
            telling,
            token,
        }
    }

    impl World {
        fn stands(&self) -> String {
            self.standing.lock().clone().unwrap()
        }

        fn shows(&self, identity: &Arc<Identity>) -> bool {
            let shown = self.telling.shown.borrow();
            shown
                .as_ref()
                .is_some_and(|shown| Arc::ptr_eq(shown, identity))
        }
    }

    /// Lets everybody do what they can do now.
    async fn after(time: Duration) {
        tokio::time::sleep(time).await;
    }

    const MOMENT: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn nothing_is_believed_until_there_is_something_to_tell_it_in() {
        let world = world(None);
        let first = identity();
        world.kept.send_replace(Some(Arc::clone(&first)));
        after(LOOK).await;
        assert!(world.shows(&first));
        assert!(!*world.telling.believed.borrow());
        *world.standing.lock() = Some(String::new());
        after(LOOK_AGAIN * 2).await;
        assert!(*world.telling.believed.borrow());
        assert_eq!(world.stands(), first.authorities());
        // One that goes later makes nothing worse than it is.
        *world.standing.lock() = None;
        after(LOOK * 2).await;
        assert!(*world.telling.believed.borrow());
        world.token.cancel();
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_authority_is_told_beside_the_old_one_before_anything_of_it_is_shown() {
        let world = world(Some(""));
        let (old, new) = (identity(), identity());
        world.kept.send_replace(Some(Arc::clone(&old)));
        after(MOMENT).await;
        world.kept.send_replace(Some(Arc::clone(&new)));
        after(MOMENT).await;
        let both = format!("{}{}", new.authorities(), old.authorities());
        assert_eq!(world.stands(), both);
        assert!(world.shows(&old));
        after(SPREADS_WITHIN).await;
        assert!(world.shows(&new));
        after(OTHERS_STAY.saturating_sub(LOOK)).await;
        assert_eq!(world.stands(), both);
        after(LOOK * 3).await;
        assert_eq!(world.stands(), new.authorities());
        world.token.cancel();
    }

    #[tokio::test(start_paused = true)]
    async fn an_authority_that_is_replaced_soon_after_the_last_stays_for_a_whole_hour_as_well() {
        let world = world(Some(""));
        let (first, second, third) = (identity(), identity(), identity());
        world.kept.send_replace(Some(Arc::clone(&first)));
        after(MOMENT).await;
        world.kept.send_replace(Some(Arc::clone(&second)));
        after(OTHERS_STAY / 2).await;
        world.kept.send_replace(Some(Arc::clone(&third)));
        after(OTHERS_STAY.saturating_sub(LOOK * 2)).await;
        assert!(world.stands().contains(second.authorities()));
        after(LOOK * 4).await;
        assert_eq!(world.stands(), third.authorities());
        world.token.cancel();
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_begins_keeps_the_authority_that_others_still_show() {
        let (theirs, ours) = (identity(), identity());
        let world = world(Some(theirs.authorities()));
        world.kept.send_replace(Some(Arc::clone(&ours)));
        after(MOMENT).await;
        assert!(world.shows(&ours) && *world.telling.believed.borrow());
        let both = format!("{}{}", ours.authorities(), theirs.authorities());
        assert_eq!(world.stands(), both);
        world.token.cancel();
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_api_server_cannot_be_told_is_not_shown_instead_of_what_it_believes() {
        let world = world(Some(""));
        let (old, new) = (identity(), identity());
        world.kept.send_replace(Some(Arc::clone(&old)));
        after(MOMENT).await;
        *world.standing.lock() = None;
        world.kept.send_replace(Some(Arc::clone(&new)));
        after(LOOK * 2).await;
        assert!(world.shows(&old));
        world.token.cancel();
    }
}
