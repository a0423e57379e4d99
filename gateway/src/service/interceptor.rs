//! Interceptors: around each message of a client, like the layers of an onion, by ascending order.
//!
//! One may look at a message and pass it on, change it before, change what became of it after, answer it, swallow it or
//! refuse it. Hooks out of process that decide about messages are interceptors too, so both share one order.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{Client, Incoming, Rejection, Verdict};

/// One layer around each message.
pub trait Interceptor: Send + Sync + 'static {
    /// What it is called in logs and metrics.
    fn name(&self) -> &str;

    /// Where it stands: smaller is further out. Equal ones stand as they were registered.
    fn order(&self) -> i32 {
        0
    }

    /// Decides about a message, or has the next one decide.
    fn intercept<'a>(
        &'a self,
        client: &'a Client,
        message: Incoming,
        next: Next<'a>,
    ) -> BoxFuture<'a, Result<Verdict, Rejection>>;
}

/// The interceptors further in. Running it is passing the message on.
#[derive(Clone, Copy)]
pub struct Next<'a> {
    client: &'a Client,
    rest: &'a [Arc<dyn Interceptor>],
}

impl<'a> Next<'a> {
    pub(super) fn new(client: &'a Client, all: &'a [Arc<dyn Interceptor>]) -> Self {
        Self { client, rest: all }
    }

    /// Passes the message on; at the innermost it is sent.
    pub fn run(self, message: Incoming) -> BoxFuture<'a, Result<Verdict, Rejection>> {
        match self.rest.split_first() {
            None => Box::pin(std::future::ready(Ok(Verdict::Send(Box::new(message))))),
            Some((first, rest)) => {
                let next = Self {
                    client: self.client,
                    rest,
                };
                first.intercept(self.client, message, next)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::sample;
    use super::*;
    use crate::protocol::{Priority, Target};
    use crate::service::Answer;

    /// Writes its name before and after, unless the message says that it should do something else.
    struct Mark(&'static str, i32);

    impl Interceptor for Mark {
        fn name(&self) -> &str {
            self.0
        }

        fn order(&self) -> i32 {
            self.1
        }

        fn intercept<'a>(
            &'a self,
            _: &'a Client,
            mut message: Incoming,
            next: Next<'a>,
        ) -> BoxFuture<'a, Result<Verdict, Rejection>> {
            Box::pin(async move {
                match message.kind.strip_prefix(self.0) {
                    Some(":refuse") => return Err(format!("{} says no", self.0).into()),
                    Some(":answer") => return Ok(Verdict::Answer(Answer::text("hi", self.0))),
                    Some(":swallow") => return Ok(Verdict::Swallow),
                    _ => {}
                }
                message.reply_to.get_or_insert_default().push_str(self.0);
                let mut verdict = next.run(message).await?;
                if let Verdict::Send(message) = &mut verdict {
                    message.reply_to.get_or_insert_default().push_str(self.0);
                }
                Ok(verdict)
            })
        }
    }

    fn message(kind: &str) -> Incoming {
        Incoming {
            kind: kind.to_owned(),
            id: None,
            target: Target::Application,
            content: None,
            data: None,
            priority: Priority::Normal,
            reply_to: None,
            require_ack: false,
            durable: None,
        }
    }

    async fn run(kind: &str) -> Result<Verdict, Rejection> {
        let mut extensions = crate::service::Extensions::default();
        for mark in [Mark("c", 5), Mark("a", -1), Mark("b", 5)] {
            extensions.use_interceptor(mark);
        }
        Next::new(&sample("alice"), &extensions.interceptors())
            .run(message(kind))
            .await
    }

    #[tokio::test]
    async fn interceptors_wrap_each_other_by_ascending_order() {
        let Ok(Verdict::Send(message)) = run("text").await else {
            panic!("not sent")
        };
        assert_eq!(message.reply_to.as_deref(), Some("acbbca"));
    }

    #[tokio::test]
    async fn one_may_refuse_answer_or_swallow_and_what_is_further_in_hears_nothing() {
        assert_eq!(run("c:refuse").await.unwrap_err(), "c says no".into());
        assert!(
            matches!(run("a:answer").await, Ok(Verdict::Answer(answer)) if answer.kind == "hi")
        );
        assert!(matches!(run("b:swallow").await, Ok(Verdict::Swallow)));
    }
}
