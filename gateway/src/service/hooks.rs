//! `HookDesk`: the hooks of a running gateway, by its configuration. A reload leaves those alone that did not change, and
//! lets those that are gone deliver what waits.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use super::hook::HookClients;
use super::{Hook, HookGround, HookPlan, HookPlanError, Service};

/// The pause between two looks at what waits.
const BREATH: Duration = Duration::from_millis(20);

/// See the module.
pub struct HookDesk {
    service: Arc<Service>,
    ground: HookGround,
    clients: HookClients,
    hooks: Mutex<Vec<Arc<Hook>>>,
}

impl HookDesk {
    /// None yet.
    pub fn new(service: Arc<Service>, ground: HookGround) -> Self {
        Self {
            service,
            ground,
            clients: HookClients::default(),
            hooks: Mutex::default(),
        }
    }

    /// Waits until nothing waits for any hook any more, but not for longer than this: what is delivered while the process
    /// still has its connections is not delivered again by another node.
    pub async fn settle(&self, most: Duration) {
        let hooks = self.hooks.lock().clone();
        let waits = |hook: &Arc<Hook>| hook.stats().queued.load(Relaxed) > 0;
        let quiet = async {
            while hooks.iter().any(waits) {
                sleep(BREATH).await;
            }
        };
        let _late = timeout(most, quiet).await;
    }

    /// Has just these hooks from now on. On an error nothing has changed.
    pub fn apply(&self, plans: Vec<HookPlan>) -> Result<(), HookPlanError> {
        let mut hooks = self.hooks.lock();
        let mut next = Vec::with_capacity(plans.len());
        for plan in plans {
            let same = hooks.iter().find(|hook| *hook.plan() == plan);
            next.push(match same {
                Some(hook) => hook.clone(),
                None => Hook::start(plan, &self.clients, &self.ground)?,
            });
        }
        self.service.set_hooks(next.clone());
        *hooks = next;
        Ok(())
    }
}
