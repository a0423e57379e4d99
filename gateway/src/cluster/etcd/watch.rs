//! Tells the keeper to look when nodes come or go, as etcd says it the moment it happens. Renewals change a name's value too;
//! they are passed over, so that a hundred nodes do not make each other look at every heartbeat.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use wsc_proto::etcd::mvccpb::{Event, event::EventType};

use super::registry::{info, names};
use super::{EtcdFault, EtcdLink};
use crate::cluster::ClusterError;
use crate::cluster::backoff::backoff;
use crate::cluster::shared::Shared;

const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long etcd may take to say that it watches.
const BEGINNING: Duration = Duration::from_secs(5);

/// Watches until cancelled; a stream that breaks is opened anew.
pub(in crate::cluster) async fn watch(
    link: Arc<EtcdLink>,
    shared: Arc<Shared>,
    cancel: CancellationToken,
) {
    let mut failures = 0;
    loop {
        let outcome = tokio::select! {
            () = cancel.cancelled() => return,
            outcome = follow(&link, &shared, &mut failures) => outcome,
        };
        if let Err(error) = outcome {
            let error = crate::cluster::canary::describe(&error);
            tracing::debug!(
                error,
                "etcd's changes are not heard; the registry is still read at intervals"
            );
        }
        failures += 1;
        tokio::select! {
            () = cancel.cancelled() => return,
            () = sleep(backoff(PAUSE, PAUSE_MAX, failures)) => {}
        }
    }
}

async fn follow(link: &EtcdLink, shared: &Shared, failures: &mut u32) -> Result<(), ClusterError> {
    let (from, to) = names(link);
    let mut answers = link.watch(from, to).await?;
    let silent = || {
        failed(EtcdFault::Unreachable(
            "it does not begin to watch".to_owned(),
        ))
    };
    let mut answer = timeout(BEGINNING, answers.message())
        .await
        .map_err(|_| silent())?;
    loop {
        let Some(said) = answer.map_err(|status| failed(EtcdFault::from(&status)))? else {
            return Ok(());
        };
        if said.canceled {
            return Err(failed(EtcdFault::Refused(said.cancel_reason)));
        }
        // What happened before it began was not told.
        if said.created || said.events.iter().any(is_news) {
            *failures = 0;
            shared.look.notify_one();
        }
        answer = answers.message().await;
    }
}

fn failed(source: EtcdFault) -> ClusterError {
    ClusterError::Registry {
        operation: "watch",
        source,
    }
}

/// Whether somebody came, went, or said of itself what peers act on. Load is read at intervals.
fn is_news(event: &Event) -> bool {
    if event.r#type() == EventType::Delete {
        return true;
    }
    let told = |kv: &Option<_>| {
        let kv: &wsc_proto::etcd::mvccpb::KeyValue = kv.as_ref()?;
        info(&kv.value).map(|info| (info.epoch, info.synced))
    };
    told(&event.kv) != told(&event.prev_kv)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wsc_proto::etcd::mvccpb::KeyValue;

    fn value(epoch: u64, synced: bool, connections: u64) -> KeyValue {
        let value = format!(
            r#"{{"node":"a","epoch":{epoch},"address":"","connections":{connections},"synced":{synced}}}"#
        );
        KeyValue {
            value: value.into_bytes(),
            ..KeyValue::default()
        }
    }

    #[test]
    fn a_renewal_is_no_news_and_whoever_comes_goes_or_is_ready_is() {
        let put = |kv, prev_kv: Option<KeyValue>| Event {
            r#type: EventType::Put.into(),
            kv: Some(kv),
            prev_kv,
        };
        assert!(!is_news(&put(value(7, true, 1), Some(value(7, true, 900)))));
        assert!(is_news(&put(value(7, true, 1), None)));
        assert!(is_news(&put(value(8, true, 1), Some(value(7, true, 1)))));
        assert!(is_news(&put(value(7, true, 1), Some(value(7, false, 1)))));
        let gone = Event {
            r#type: EventType::Delete.into(),
            ..Event::default()
        };
        assert!(is_news(&gone));
    }
}
