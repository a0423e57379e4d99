//! `make demo`: a chat that crosses gateway pods, on a real Kubernetes, for someone to watch.
//!
//! Installs the chart, applies a sample, and lets three people on three pods talk; then a broadcast, a message by HTTP
//! and one by gRPC. Leaves everything running and says how to go on.

// JSON alone is indexed here, and it answers `null` for what is not there.
#![allow(clippy::indexing_slicing)]

use std::time::Duration;

use anyhow::{Context, Result};
use hyper::Method;
use serde_json::{Value, json};
use wsc_e2e::chart;
use wsc_e2e::client::{ChatClient, Who};
use wsc_e2e::cluster::Cluster;
use wsc_e2e::gateway::Gateway;
use wsc_e2e::resource::sample;
use wsc_proto::v1::{MessageBody, SendRequest};

const NAMESPACE: &str = "wsc-demo";
const READY_WITHIN: Duration = Duration::from_mins(3);
const SOON: Duration = Duration::from_secs(15);

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const PLAIN: &str = "\x1b[0m";

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let gateway = set_up(&cluster).await?;
    let people = arrive(&gateway).await?;
    talk(&people).await?;
    call(&gateway, &people).await?;
    heading("kubectl get wsg");
    print!("{}", gateway.kubectl(&["get", "wsg"]).await?);
    how_to_go_on(&cluster);
    Ok(())
}

async fn set_up(cluster: &Cluster) -> Result<Gateway> {
    heading("The operator");
    println!(
        "helm install wsc-operator charts/wsc-operator --namespace {}",
        chart::NAMESPACE
    );
    chart::upgrade(cluster)
        .await
        .context("installing the chart")?;

    heading("One resource: three gateways and a Redis");
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    cluster
        .kubectl_with_input(&["apply", "-f", "-"], &namespace.to_string())
        .await?;
    let gateway = Gateway::new(cluster, NAMESPACE, "chat");
    let resource = sample(3);
    println!("kubectl apply of {DIM}{}{PLAIN}", resource["spec"]);
    gateway.apply(&resource).await?;
    gateway.await_ready(3, READY_WITHIN).await?;
    for pod in gateway.await_mesh(3, READY_WITHIN).await? {
        println!("{GREEN}ready{PLAIN} {pod}");
    }
    Ok(gateway)
}

/// A person, and the pod they are connected to.
struct Person {
    client: ChatClient,
    pod: String,
}

async fn arrive(gateway: &Gateway) -> Result<Vec<Person>> {
    heading("Three people, each on a pod of their own");
    let pods = gateway.ready_pods().await?;
    let mut people = Vec::new();
    for (user, pod) in ["alice", "bob", "carol"].into_iter().zip(pods) {
        let who = Who::user(user).at(&pod).with_scope("broadcast");
        let client = ChatClient::connect(gateway, who).await?;
        let welcome = client
            .await_frame("the welcome", SOON, |frame| frame["type"] == "welcome")
            .await?;
        println!(
            "{BOLD}{user:<6}{PLAIN} is on {} {DIM}session {}{PLAIN}",
            welcome["data"]["node"], welcome["data"]["session_id"]
        );
        people.push(Person { client, pod });
    }
    Ok(people)
}

async fn talk(people: &[Person]) -> Result<()> {
    let [alice, bob, carol] = people else {
        anyhow::bail!("three ready pods are needed")
    };
    heading("They talk; every line crosses from one pod to another");
    for (from, to, content) in [
        (alice, bob, "Hi Bob, are you there?"),
        (bob, alice, "I am. On another pod, it seems."),
        (alice, carol, "Carol, come and join us."),
        (carol, alice, "On my way."),
        (carol, bob, "Hello Bob!"),
    ] {
        from.client.say(to.client.user(), content).await?;
        let heard = to
            .client
            .await_text(from.client.user(), content, SOON)
            .await?;
        line(&heard, from, to);
    }

    heading("A broadcast");
    let content = "Lunch in five minutes";
    alice
        .client
        .send(json!({"type": "text", "broadcast": true, "content": content}))
        .await?;
    for to in [bob, carol] {
        let heard = to.client.await_text("alice", content, SOON).await?;
        line(&heard, alice, to);
    }
    Ok(())
}

fn line(heard: &Value, from: &Person, to: &Person) {
    let (who, whom) = (from.client.user(), to.client.user());
    println!(
        "{BOLD}{who:>6}{PLAIN} {DIM}{}{PLAIN} → {BOLD}{whom:<6}{PLAIN} {DIM}{}{PLAIN}  {GREEN}{}{PLAIN}",
        from.pod,
        to.pod,
        heard["content"].as_str().unwrap_or_default(),
    );
}

async fn call(gateway: &Gateway, people: &[Person]) -> Result<()> {
    let [alice, bob, carol] = people else {
        anyhow::bail!("three ready pods are needed")
    };
    heading("A backend sends, by HTTP at one pod and by gRPC at another");
    let content = "Your order has shipped";
    let body = json!({"to": "alice", "type": "text", "content": content});
    let answer = gateway
        .http(&bob.pod, Method::POST, "/v1/messages", Some(body))
        .await?;
    println!("POST /v1/messages at {} {DIM}{answer}{PLAIN}", bob.pod);
    alice
        .client
        .await_frame(content, SOON, |frame| frame["content"] == content)
        .await?;
    println!(
        " → {BOLD}alice{PLAIN}  {DIM}{}{PLAIN}  {GREEN}{content}{PLAIN}",
        alice.pod
    );

    let content = "Your invoice is ready";
    let message = MessageBody {
        r#type: "text".to_owned(),
        content_json: json!(content).to_string(),
        ..MessageBody::default()
    };
    let request = SendRequest {
        to: vec!["bob".to_owned()],
        message: Some(message),
    };
    gateway.grpc(&carol.pod).await?.send(request).await?;
    println!("wsc.v1.WscService/Send at {}", carol.pod);
    bob.client
        .await_frame(content, SOON, |frame| frame["content"] == content)
        .await?;
    println!(
        " → {BOLD}bob{PLAIN}    {DIM}{}{PLAIN}  {GREEN}{content}{PLAIN}",
        bob.pod
    );
    Ok(())
}

fn heading(text: &str) {
    println!("\n{BOLD}── {text}{PLAIN}");
}

fn how_to_go_on(cluster: &Cluster) {
    heading("It all stays up. Go on with");
    let kubeconfig = cluster.kubeconfig().display();
    println!(
        "\
export KUBECONFIG={kubeconfig} PATH=$PATH:~/.cache/wsc-cluster/bin
kubectl -n {NAMESPACE} get wsg,pods
kubectl -n {NAMESPACE} scale wsg/chat --replicas=5
kubectl -n {NAMESPACE} exec deploy/chat -- /usr/local/bin/wsc-gateway token --user dave --config /etc/wsc/config/gateway.yaml --secrets-dir /etc/wsc/secrets
kubectl -n {NAMESPACE} port-forward service/chat 8081:ws    # then ws://127.0.0.1:8081/ws
kubectl delete namespace {NAMESPACE}
make cluster-down                                        # the throw-away cluster, if this was it"
    );
}
