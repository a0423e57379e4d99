//! `Live`: who decides and hears now, in order: what the application registered in process, and the hooks, which change while
//! the gateway runs. Made anew with each change, never changed.

use std::sync::Arc;

use wsc_config::HookPoint;

use super::{Doorkeeper, Event, Gatekeeper, Hook, Interceptor};

/// What the application registered in process.
type Own<'a> = (
    &'a [Arc<dyn Gatekeeper>],
    &'a [Arc<dyn Interceptor>],
    &'a [Arc<dyn Doorkeeper>],
);

/// Who decides and hears now, hooks included.
#[derive(Default)]
pub(super) struct Live {
    pub(super) gatekeepers: Vec<Arc<dyn Gatekeeper>>,
    pub(super) interceptors: Vec<Arc<dyn Interceptor>>,
    pub(super) doorkeepers: Vec<Arc<dyn Doorkeeper>>,
    pub(super) hooks: Vec<Arc<Hook>>,
    pub(super) hears_sent: bool,
    pub(super) hears_clients: bool,
}

impl Live {
    /// Those in process and these hooks.
    pub(super) fn of(own: Own<'_>, mut hooks: Vec<Arc<Hook>>) -> Self {
        hooks.sort_by_key(|hook| hook.plan().config().order);
        let on = |point| hooks.iter().filter(move |hook| hook.is_on(point)).cloned();
        let mut gatekeepers = own.0.to_vec();
        gatekeepers.extend(on(HookPoint::Connect).map(|hook| hook as Arc<dyn Gatekeeper>));
        let mut interceptors = own.1.to_vec();
        interceptors.extend(on(HookPoint::Message).map(|hook| hook as Arc<dyn Interceptor>));
        // Stable: equal ones stay in this order, hooks last.
        let mut doorkeepers = own.2.to_vec();
        doorkeepers.extend(on(HookPoint::GroupJoin).map(|hook| hook as Arc<dyn Doorkeeper>));
        doorkeepers.sort_by_key(|one| one.order());
        gatekeepers.sort_by_key(|one| one.order());
        interceptors.sort_by_key(|one| one.order());
        let wants = |name| hooks.iter().any(|hook| hook.plan().wants(name));
        Self {
            gatekeepers,
            interceptors,
            doorkeepers,
            hears_sent: wants(Event::SENT),
            hears_clients: wants(Event::CONNECTED) || wants(Event::DISCONNECTED),
            hooks,
        }
    }
}
