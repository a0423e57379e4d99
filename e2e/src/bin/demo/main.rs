//! `make demo`: a chat that crosses gateway pods, on a real Kubernetes, for someone to watch.
//!
//! Installs the chart, applies `examples/smallest.yaml`, and lets three people on three pods talk; then a broadcast, a
//! message by HTTP and one by gRPC. Leaves everything running and says how to go on. Starts anew each time.

// JSON alone is indexed here, and it answers `null` for what is not there.
#![allow(clippy::indexing_slicing)]

mod paint;

use std::time::Duration;

use anyhow::{Context, Result};
use hyper::Method;
use serde_json::{Value, json};
use wsc_e2e::chart;
use wsc_e2e::client::{ChatClient, Who};
use wsc_e2e::cluster::{Cluster, source_root};
use wsc_e2e::gateway::Gateway;
use wsc_proto::v1::{MessageBody, SendRequest};

use self::paint::{bold, dim, green, heading};

const NAMESPACE: &str = "wsc-demo";
const READY_WITHIN: Duration = Duration::from_mins(3);
const SOON: Duration = Duration::from_secs(15);

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = Cluster::connect().await?;
    install_operator(&cluster).await?;
    let gateway = apply_sample(&cluster).await?;
    let people = People::arrive(&gateway).await?;
    people.talk().await?;
    people.hear_a_broadcast().await?;
    people.hear_from_backends(&gateway).await?;
    heading("kubectl get wsg");
    print!("{}", gateway.kubectl(&["get", "wsg"]).await?);
    how_to_go_on(&cluster);
    Ok(())
}

async fn install_operator(cluster: &Cluster) -> Result<()> {
    heading("The operator");
    println!(
        "helm install wsc-operator charts/wsc-operator --namespace {}",
        chart::NAMESPACE
    );
    // What an earlier demo left runs the images of that time.
    cluster
        .kubectl(&[
            "delete",
            "namespace",
            NAMESPACE,
            "--ignore-not-found",
            "--timeout=120s",
        ])
        .await?;
    chart::reinstall(cluster).await
}

async fn apply_sample(cluster: &Cluster) -> Result<Gateway> {
    heading("One resource: three gateways and a Redis");
    let path = source_root().join("examples/smallest.yaml");
    let file = path.to_string_lossy();
    let text = std::fs::read_to_string(&path).with_context(|| file.to_string())?;
    println!(
        "kubectl apply -f examples/smallest.yaml\n{}",
        dim(text.trim_end())
    );
    cluster.kubectl(&["create", "namespace", NAMESPACE]).await?;
    let gateway = Gateway::new(cluster, NAMESPACE, "chat");
    let as_json = gateway
        .kubectl(&["create", "--dry-run=client", "-o", "json", "-f", &file])
        .await?;
    gateway.apply(&serde_json::from_str(&as_json)?).await?;
    gateway.await_ready(3, READY_WITHIN).await?;
    for pod in gateway.await_mesh(3, READY_WITHIN).await? {
        println!("{} {pod}", green("ready"));
    }
    Ok(gateway)
}

/// Someone, and the pod they are connected to.
struct Person {
    client: ChatClient,
    pod: String,
}

impl Person {
    async fn arrive(gateway: &Gateway, user: &str, pod: &str) -> Result<Self> {
        let who = Who::user(user).at(pod).with_scope("broadcast");
        let client = ChatClient::connect(gateway, who).await?;
        let welcome = client
            .await_frame("the welcome", SOON, |frame| frame["type"] == "welcome")
            .await?;
        let (node, session) = (&welcome["data"]["node"], &welcome["data"]["session_id"]);
        println!(
            "{} is on {} {}",
            bold(format!("{user:>7}")),
            text(node),
            dim(format!("session {}", text(session)))
        );
        Ok(Self {
            client,
            pod: pod.to_owned(),
        })
    }

    async fn hears(&self, content: &str) -> Result<Value> {
        self.client
            .await_frame(content, SOON, |frame| frame["content"] == content)
            .await
    }
}

struct People {
    alice: Person,
    bob: Person,
    carol: Person,
}

impl People {
    async fn arrive(gateway: &Gateway) -> Result<Self> {
        heading("Three people, each on a pod of their own");
        let pods = gateway.ready_pods().await?;
        let [one, two, three] = &pods[..] else {
            anyhow::bail!("not three ready pods: {pods:?}")
        };
        Ok(Self {
            alice: Person::arrive(gateway, "alice", one).await?,
            bob: Person::arrive(gateway, "bob", two).await?,
            carol: Person::arrive(gateway, "carol", three).await?,
        })
    }

    async fn talk(&self) -> Result<()> {
        heading("They talk; every line crosses from one pod to another");
        let Self { alice, bob, carol } = self;
        for (from, to, content) in [
            (alice, bob, "Hi Bob, are you there?"),
            (bob, alice, "I am. On another pod, it seems."),
            (alice, carol, "Carol, come and join us."),
            (carol, alice, "On my way."),
            (carol, bob, "Hello Bob!"),
        ] {
            from.client.say(to.client.user(), content).await?;
            show(from, to, &to.hears(content).await?);
        }
        Ok(())
    }

    async fn hear_a_broadcast(&self) -> Result<()> {
        heading("A broadcast");
        let content = "Lunch in five minutes";
        let frame = json!({"type": "text", "broadcast": true, "content": content});
        self.alice.client.send(frame).await?;
        for to in [&self.bob, &self.carol] {
            show(&self.alice, to, &to.hears(content).await?);
        }
        Ok(())
    }

    async fn hear_from_backends(&self, gateway: &Gateway) -> Result<()> {
        heading("A backend sends, by HTTP at one pod and by gRPC at another");
        let Self { alice, bob, carol } = self;
        let content = "Your order has shipped";
        let body = json!({"to": "alice", "type": "text", "content": content});
        gateway
            .http(&bob.pod, Method::POST, "/v1/messages", Some(body))
            .await?;
        show_call(
            "POST /v1/messages",
            &bob.pod,
            alice,
            &alice.hears(content).await?,
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
        show_call(
            "WscService/Send",
            &carol.pod,
            bob,
            &bob.hears(content).await?,
        );
        Ok(())
    }
}

/// A line of the chat, as the recipient saw it.
fn show(from: &Person, to: &Person, heard: &Value) {
    let sender = format!("{:>7}", text(&heard["from"]));
    let recipient = format!("{:<7}", to.client.user());
    let content = green(text(&heard["content"]));
    println!(
        "{} {} → {} {}  {content}",
        bold(sender),
        dim(&from.pod),
        bold(recipient),
        dim(&to.pod)
    );
}

fn show_call(call: &str, at: &str, to: &Person, heard: &Value) {
    let recipient = format!("{:<7}", to.client.user());
    let content = green(text(&heard["content"]));
    println!(
        "{} {}\n        → {} {}  {content}",
        bold(call),
        dim(format!("at {at}")),
        bold(recipient),
        dim(&to.pod)
    );
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn how_to_go_on(cluster: &Cluster) {
    heading("It all stays up. Go on with");
    let kubeconfig = cluster.kubeconfig().display();
    println!(
        "\
export KUBECONFIG={kubeconfig} PATH=$PATH:~/.cache/wsc-cluster/bin
kubectl config set-context --current --namespace {NAMESPACE}
kubectl get wsg,pods
kubectl scale wsg/chat --replicas=5
kubectl exec deploy/chat -- /usr/local/bin/wsc-gateway token --user dave \\
  --config /etc/wsc/config/gateway.yaml --secrets-dir /etc/wsc/secrets
kubectl port-forward service/chat 8081:ws         # then ws://127.0.0.1:8081/ws
kubectl delete namespace {NAMESPACE}
make cluster-down                                 # ends the throw-away cluster, if this was it"
    );
}
