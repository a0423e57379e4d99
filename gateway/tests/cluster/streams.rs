//! Streams between nodes: what they take, and that nothing is lost, doubled or out of order when they break.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use tonic::transport::Endpoint;
use tonic::{Code, Request};
use wsc_gateway::cluster::{Cluster, ClusterError, Forward};
use wsc_gateway::group::{Change, Generation, What};
use wsc_gateway::protocol::GroupId;
use wsc_proto::cluster::Push;
use wsc_proto::cluster::peers_client::PeersClient;

use crate::support::ground::Ground;
use crate::support::nodes::{Door, Node, params, reporter, user, within};
use crate::support::proxy::Proxy;

/// Two nodes: the way to the second one's door leads through the proxy.
async fn by_way_of_a_proxy(ground: &Ground) -> (Node, Node, Proxy) {
    let door = Door::bind();
    let proxy = Proxy::to(door.port).await;
    let b = door.node_at(proxy.port, params("b", &ground.backend, ground.timeout));
    let a = ground.node("a");
    for node in [&a, &b] {
        node.ready().await;
        node.knows(1).await;
        let open = async || node.cluster.stats().streams.load(Relaxed) == 1;
        within(10, "the stream is open", open).await;
    }
    b.up("bob");
    a.sees_online(&["bob"]).await;
    (a, b, proxy)
}

/// Hands in one message more for bob; what became of it is asserted when it is known.
async fn say(cluster: &Cluster, n: usize) {
    let report =
        Box::new(|outcome: Result<Vec<usize>, ClusterError>| assert_eq!(outcome.unwrap(), [1]));
    let users = vec![user("bob")];
    let parcel = Bytes::from(n.to_string()).into();
    cluster
        .forward(Forward::Users {
            users,
            parcel,
            report,
        })
        .await;
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

async fn bob_has(b: &Node, count: usize) {
    let all = async || b.hub.got("bob").len() >= count;
    within(20, "all have arrived", all).await;
    assert_eq!(b.hub.got("bob"), numbers(count));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_over_a_stream_where_there_is_one() {
    let ground = Ground::streams().await;
    let (a, b, _proxy) = by_way_of_a_proxy(&ground).await;
    for n in 0..1_000 {
        say(&a.cluster, n).await;
    }
    bob_has(&b, 1_000).await;
    // And whatever the node had to say to all.
    assert!(b.cluster.stats().streamed_in.load(Relaxed) >= 1_000);
    let sent = async || a.cluster.stats().streamed_out.load(Relaxed) >= 1_000;
    within(5, "all are acknowledged", sent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_acknowledged_goes_again_and_is_taken_once() {
    let ground = Ground::streams().await;
    let (a, b, proxy) = by_way_of_a_proxy(&ground).await;
    for n in 0..900 {
        if n == 300 {
            // The messages come through, the acknowledgements do not.
            proxy.mute();
        }
        say(&a.cluster, n).await;
    }
    bob_has(&b, 900).await;
    assert!(a.cluster.stats().stream_repeats.load(Relaxed) > 0);
    assert!(b.cluster.stats().doubles.load(Relaxed) > 0);
    proxy.unmute();
    let open = async || a.cluster.stats().streams.load(Relaxed) == 1;
    within(20, "there is a stream again", open).await;
    let before = b.cluster.stats().streamed_in.load(Relaxed);
    for n in 900..1_000 {
        say(&a.cluster, n).await;
    }
    bob_has(&b, 1_000).await;
    assert!(b.cluster.stats().streamed_in.load(Relaxed) > before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_falls_silent_loses_nothing() {
    let ground = Ground::streams().await;
    let (a, b, proxy) = by_way_of_a_proxy(&ground).await;
    for n in 0..600 {
        if n == 200 {
            proxy.cut();
        }
        say(&a.cluster, n).await;
    }
    bob_has(&b, 600).await;
    assert!(a.cluster.stats().stream_repeats.load(Relaxed) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_to_all_and_what_goes_to_one_keep_their_order() {
    let ground = Ground::streams().await;
    let (a, b, proxy) = by_way_of_a_proxy(&ground).await;
    for n in 0..300 {
        say(&a.cluster, 2 * n).await;
        let (report, told) = reporter();
        let parcel = Bytes::from((2 * n + 1).to_string()).into();
        a.cluster
            .forward(Forward::Broadcast { parcel, report })
            .await;
        if n % 10 == 0 {
            assert_eq!(told.await.unwrap().unwrap(), [1]);
        }
        if n == 200 {
            proxy.mute();
        }
    }
    let all = async || b.hub.heard.lock().len() >= 600;
    within(20, "all have arrived", all).await;
    assert_eq!(*b.hub.heard.lock(), numbers(600));
    assert!(a.cluster.stats().stream_repeats.load(Relaxed) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_into_a_group_is_known_before_what_is_said_there() {
    let ground = Ground::streams().await;
    let (a, b, _proxy) = by_way_of_a_proxy(&ground).await;
    let group = GroupId::new("g").unwrap();
    b.cluster.hold_group(&group, 1).await.unwrap();
    for n in 0..300_u64 {
        let (report, _told) = reporter();
        let change = Change {
            group: group.clone(),
            generation: Generation(n + 1),
            what: What::Left(user("eve")),
        };
        a.cluster
            .forward(Forward::GroupChanged { change, report })
            .await;
        let (report, _told) = reporter();
        let parcel = Bytes::from(n.to_string()).into();
        let group = group.clone();
        a.cluster
            .forward(Forward::Group {
                group,
                parcel,
                holders: None,
                report,
            })
            .await;
    }
    let all = async || b.hub.heard.lock().len() == 600;
    within(20, "all have arrived", all).await;
    let mut changes = 0;
    let mut messages = numbers(300).into_iter();
    for heard in b.hub.heard.lock().iter() {
        if heard == "group.left" {
            changes += 1;
            continue;
        }
        assert_eq!(Some(heard), messages.next().as_ref());
        let n: usize = heard.parse().unwrap();
        assert!(changes > n, "message {n} came after {changes} changes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_message_takes_the_other_way_and_its_place() {
    let ground = Ground::streams().await;
    let (a, b, _proxy) = by_way_of_a_proxy(&ground).await;
    let large = "x".repeat(3 << 20);
    for text in ["before", &large, "after"] {
        assert_eq!(a.send(&["bob"], text).await.unwrap(), [1]);
    }
    let all = async || b.hub.got("bob").len() == 3;
    within(10, "all have arrived", all).await;
    assert!(b.hub.got("bob") == ["before", &large, "after"]);
    assert!(b.cluster.stats().streamed_in.load(Relaxed) >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_comes_back_is_found_at_its_new_door() {
    let ground = Ground::streams().await;
    let [a, b] = ground.nodes(["a", "b"]).await;
    b.crash().await;
    let b = ground.node("b");
    b.ready().await;
    b.up("bob");
    a.sees_online(&["bob"]).await;
    let over_a_stream = async || {
        let _sent = a.send(&["bob"], "hi").await;
        b.cluster.stats().streamed_in.load(Relaxed) > 0
    };
    within(10, "messages come over a stream", over_a_stream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_read_the_registry_is_not_listened_to() {
    let ground = Ground::streams().await;
    let door = Door::bind();
    let port = door.port;
    let _node = door.node(params("b", &ground.backend, ground.timeout));
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
    let mut peer = PeersClient::new(endpoint.connect().await.unwrap());
    for key in [None, Some("guessed")] {
        let mut request = Request::new(futures_util::stream::pending::<Push>());
        let metadata = request.metadata_mut();
        metadata.insert("wsc-node", "a".parse().unwrap());
        metadata.insert("wsc-process", 7.into());
        metadata.insert("wsc-stream", 7.into());
        if let Some(key) = key {
            metadata.insert("wsc-key", key.parse().unwrap());
        }
        let refused = peer.exchange(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
    }
}
