//! What the tests of the cluster share.

#[path = "etcd.rs"]
pub mod etcd;
#[path = "ground.rs"]
pub mod ground;
#[path = "nodes.rs"]
pub mod nodes;
#[path = "proxy.rs"]
pub mod proxy;
#[path = "redis.rs"]
pub mod redis;
#[path = "subject.rs"]
pub mod subject;

/// Each function becomes three tests: over memory, over Redis, and over Redis with nodes registered in etcd.
macro_rules! over_all {
    ($subject:ident: $($rule:ident),* $(,)?) => {
        over_both!($subject: $($rule),*);
        mod etcd {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                super::$rule(super::$subject::etcd().await).await;
            })*
        }
    };
}

/// Each function becomes three tests: over memory, over Redis, and over Redis with streams between the nodes.
macro_rules! over_ways {
    ($subject:ident: $($rule:ident),* $(,)?) => {
        over_both!($subject: $($rule),*);
        mod streams {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                super::$rule(super::$subject::streams().await).await;
            })*
        }
    };
}

/// Each function becomes two tests: over memory and over Redis.
macro_rules! over_both {
    ($subject:ident: $($rule:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                super::$rule(super::$subject::memory().await).await;
            })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                super::$rule(super::$subject::redis().await).await;
            })*
        }
    };
}
