//! `Counting`: what every replica does in a scope, whether it leads or not: it knows the pods and asks them.
//!
//! So whoever answers for `external.metrics.k8s.io` has numbers of its own, and a replica that takes over has them at
//! once. Started by `run`; a controller of the scope goes on with the same pods and the same census.

use std::sync::Arc;

use kube::Client;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::census::{Census, Rounds};
use crate::metrics::Metrics;
use crate::scope::Scope;
use crate::stores::Stores;
use crate::watch::{Concerns, Watches};

/// The pods of one scope and their numbers.
#[derive(Clone)]
pub struct Counting {
    /// Which namespaces.
    pub scope: Scope,
    /// What the watches know; beside pods only where a controller runs.
    pub stores: Stores,
    /// How many connections there are.
    pub census: Arc<Census>,
    /// Whom changes are told.
    pub concerns: Concerns,
}

impl Counting {
    /// Nothing is known yet.
    pub fn new(scope: Scope) -> Self {
        Self {
            scope,
            stores: Stores::default(),
            census: Arc::default(),
            concerns: Concerns::default(),
        }
    }

    /// Starts the watch of pods and the rounds.
    pub fn start(
        &self,
        client: Client,
        metrics: &Arc<Metrics>,
        tracker: &TaskTracker,
        token: &CancellationToken,
    ) {
        let watches = Watches {
            client,
            scope: self.scope.clone(),
            concerns: self.concerns.clone(),
            metrics: Arc::clone(metrics),
            token: token.clone(),
        };
        watches.start_pods(&self.stores, tracker);
        let rounds = Rounds {
            stores: self.stores.clone(),
            census: Arc::clone(&self.census),
            concerns: self.concerns.clone(),
            metrics: Arc::clone(metrics),
        };
        tracker.spawn(rounds.run(token.clone()));
    }
}
