//! `Chain`: callbacks of one kind, called in the order they were registered; the first error stops the chain.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

type Callback<A, E> = Box<dyn Fn(A) -> BoxFuture<'static, Result<(), E>> + Send + Sync>;

/// See the module.
pub(super) struct Chain<A, E>(Vec<Callback<A, E>>);

impl<A, E> Default for Chain<A, E> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<A: Clone, E> Chain<A, E> {
    pub(super) fn push<F, R>(&mut self, callback: F)
    where
        F: Fn(A) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
    {
        self.0
            .push(Box::new(move |argument| callback(argument).boxed()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Calls each, until one fails.
    pub(super) async fn run(&self, argument: &A) -> Result<(), E> {
        for callback in &self.0 {
            callback(argument.clone()).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[tokio::test]
    async fn callbacks_run_in_registration_order_and_the_first_error_stops_them() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut chain = Chain::<u8, &str>::default();
        for name in ["first", "second", "third"] {
            let seen = seen.clone();
            chain.push(move |argument: u8| {
                seen.lock().push((name, argument));
                async move {
                    if (name, argument) == ("second", 2) {
                        Err("stop")
                    } else {
                        Ok(())
                    }
                }
            });
        }
        assert_eq!(chain.run(&1).await, Ok(()));
        assert_eq!(*seen.lock(), [("first", 1), ("second", 1), ("third", 1)]);
        seen.lock().clear();
        assert_eq!(chain.run(&2).await, Err("stop"));
        assert_eq!(*seen.lock(), [("first", 2), ("second", 2)]);
    }
}
