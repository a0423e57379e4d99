//! The example of an application with a gateway beside it, as a process.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::hooks::{hook, refused, start};
use crate::sandbox::eventually;

/// Killed when a test fails before it has ended by itself.
struct Application(Child);

impl Drop for Application {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_application_decides_answers_and_ends_when_it_is_told_to() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/sidecar/app.py");
    let mut command = Command::new("python3");
    command.args([script, "--port", "0"]).stdout(Stdio::piped());
    let Ok(python) = command.spawn() else {
        eprintln!("skipped: no python3 here");
        return;
    };
    let mut python = Application(python);
    let mut said = BufReader::new(python.0.stdout.take().unwrap()).lines();
    let first = said.next().unwrap().unwrap();
    let port: u16 = first.strip_prefix("listening ").unwrap().parse().unwrap();
    let node = start(
        &[hook(
            "app",
            port,
            "points: [connect, message], timeout: 10s",
        )],
        |_| {},
    )
    .await;
    assert_eq!(refused(&node, "mallory").await.0["message"], "we have met");
    let mut alice = node.connect("alice").await;
    alice
        .send(json!({"type": "shout", "content": "hello"}))
        .await;
    let answer = alice.next().await;
    assert_eq!(
        (&answer["type"], &answer["content"]),
        (&json!("echo"), &json!("alice: HELLO"))
    );
    alice
        .send(json!({"type": "text", "to": "alice", "content": "hi", "durable": false}))
        .await;
    assert_eq!(alice.next().await["content"], "hi");

    let pid = python.0.id().to_string();
    let told = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(told.unwrap().success());
    let python = std::cell::RefCell::new(&mut python);
    eventually("the application has ended", || async {
        let ended = python.borrow_mut().0.try_wait().unwrap();
        ended.is_some_and(|status| status.success())
    })
    .await;
}
