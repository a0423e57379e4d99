//! The switch by which public protocol suites are run against the production read and write path.

use tokio_tungstenite::tungstenite::Message;
use wsc_gateway::app::{Gateway, Options};

use crate::client::Client;
use crate::sandbox::{Node, config, options};

#[tokio::test(flavor = "multi_thread")]
async fn data_frames_are_echoed_as_they_came() {
    let options = Options {
        echo: true,
        ..options("echo")
    };
    let node = Node(Gateway::start(config(&[]), options).await.unwrap());
    let mut client = Client::open(&node.ws(), &[]).await.unwrap();
    for message in [
        Message::text("{not json"),
        Message::binary(vec![0, 159, 146, 150]),
        Message::text(""),
    ] {
        client.send_raw(message.clone()).await;
        assert_eq!(client.next_raw().await, message);
    }
    client.send_raw(Message::Ping("are you there".into())).await;
    assert_eq!(
        client.next_raw().await,
        Message::Pong("are you there".into())
    );
    client.send_raw(Message::Close(None)).await;
    assert_eq!(client.closed().await, (vec![], 1005));
}
