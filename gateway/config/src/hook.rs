//! `HookConfig`: whom of the application the gateway asks and tells, out of process.
//!
//! A hook is asked about clients, messages and joins, and told of events. Where it goes is one of three: a Service of the
//! gateway's own namespace, a URL, or a port of the gateway's own pod.

mod target;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::join;
use crate::closed::closed;
use crate::problems::Problems;
use crate::schema::{self, Rule, millis};
use crate::{Millis, Seconds, SecretKeyRef};

pub use target::{HookLocal, HookService, HookTarget};

closed! {
    /// What a hook takes part in.
    pub enum HookPoint {
        /// Asked whether a client may have its session, and what is to be noted about it.
        Connect = "connect",
        /// Asked what becomes of a client's message.
        Message = "message",
        /// Asked whether a user may join a group of which the token says nothing.
        GroupJoin = "groupJoin",
        /// Told of each client's message that was sent.
        Sent = "sent",
        /// Told of each session that ended.
        Disconnect = "disconnect",
    }
}

closed! {
    /// How a hook is spoken to.
    pub enum HookTransport {
        /// POST with a JSON body; events as `CloudEvents`.
        Http = "http",
        /// The service `wsc.v1.HookService`.
        Grpc = "grpc",
    }
}

closed! {
    /// What is done about a client or a message when the hook does not decide.
    pub enum FailurePolicy {
        /// It is refused.
        Fail = "Fail",
        /// It goes on as if there were no such hook.
        Ignore = "Ignore",
    }
}

const HOOK_RULES: &[Rule] = &[
    Rule {
        cel: "!has(self.on)",
        message: "was renamed to points",
        path: ".on",
    },
    Rule {
        cel: "has(self.on) || size(self.points) + size(self.events) > 0",
        message: "must name something to take part in, here or in events",
        path: ".points",
    },
    Rule {
        cel: "!has(self.tls) || !has(self.target.url) || self.target.url.startsWith('https:')",
        message: "needs an https url",
        path: ".tls",
    },
];

const RETRY_RULES: &[Rule] = &[Rule {
    cel: concat!(millis!("self.maxDelay"), " >= ", millis!("self.baseDelay")),
    message: "must be at least baseDelay",
    path: ".maxDelay",
}];

/// One hook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::rules(HOOK_RULES))]
pub struct HookConfig {
    /// What it is called: in logs, metrics and requests, and by the files of its keys.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
    )]
    pub name: String,
    /// When it is asked among hooks and interceptors: smaller is earlier, and further out.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    pub order: i32,
    /// What it takes part in: `connect`, `message`, `groupJoin`, `sent`, `disconnect`.
    #[serde(default)]
    #[schemars(length(max = 5))]
    pub points: Vec<HookPoint>,
    /// What `points` was called. Refused: YAML 1.1, which `kubectl` and Helm speak, takes it for true.
    // A key that the CRD does not know is taken out of what is stored, and the hook would be asked nothing any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5), extend("x-wsc-now" = "points"))]
    pub on: Option<Vec<HookPoint>>,
    /// The events it is told of, by name, by family (`user.*`), or all (`*`).
    #[serde(default)]
    #[schemars(
        length(max = 32),
        inner(
            length(min = 1, max = 64),
            regex(pattern = r"^(\*|[a-z]+\.(\*|[a-z_.]+))$")
        )
    )]
    pub events: Vec<String>,
    /// How it is spoken to: `http` or `grpc`.
    #[serde(default = "http")]
    pub transport: HookTransport,
    /// Where it is.
    pub target: HookTarget,
    /// How its certificate is judged. Set, a `service` and a `local` target are spoken to by TLS; a `url` says `https` itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<HookTls>,
    /// How long a decision may take with all its repetitions, or one delivery of events.
    #[serde(default = "timeout")]
    #[schemars(transform = schema::between("10ms", "30s"))]
    pub timeout: Millis,
    /// What is done when it does not decide in time: `Fail` refuses, `Ignore` goes on without it.
    #[serde(default = "fail")]
    pub failure_policy: FailurePolicy,
    /// Repetitions.
    #[serde(default)]
    pub retry: HookRetry,
    /// How events are put together.
    #[serde(default)]
    pub batch: HookBatch,
    /// When it is not asked any more for a while.
    #[serde(default)]
    pub circuit: HookCircuit,
    /// Decisions that are asked for at once; further ones wait.
    #[serde(default = "concurrency")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_concurrency: u32,
    /// The Secret with the key that requests are signed with. Absent: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_key_secret_ref: Option<SecretKeyRef>,
    /// The Secret with a second key, while one is being replaced: requests carry a signature of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_signing_key_secret_ref: Option<SecretKeyRef>,
}

const fn http() -> HookTransport {
    HookTransport::Http
}

const fn timeout() -> Millis {
    Millis::from_secs(1)
}

const fn fail() -> FailurePolicy {
    FailurePolicy::Fail
}

const fn concurrency() -> u32 {
    64
}

/// How a hook's certificate is judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = schema::kubernetes)]
pub struct HookTls {
    /// The Secret with the certificates that the hook's own is judged by. Absent: the public authorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,
    /// The name that the hook's certificate must carry. Empty: the target's own.
    #[schemars(length(max = 253), regex(pattern = r"^[A-Za-z0-9_.:-]*$"))]
    pub server_name: String,
}

/// How often and for how long something is tried again that could not be delivered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = schema::rules(RETRY_RULES))]
pub struct HookRetry {
    /// Attempts in all. Those for a decision end with `timeout` as well.
    #[schemars(range(min = 1, max = 100))]
    pub max_attempts: u32,
    /// The pause before the second attempt; each further one is up to twice as long, a random part of it.
    #[schemars(transform = schema::between("1ms", "1m"))]
    pub base_delay: Millis,
    /// The longest pause.
    #[schemars(transform = schema::between("1ms", "10m"))]
    pub max_delay: Millis,
    /// How long events are tried before they are dropped.
    #[schemars(transform = schema::between("1s", "1h"))]
    pub give_up_after: Seconds,
}

impl Default for HookRetry {
    fn default() -> Self {
        Self {
            max_attempts: 10,
            base_delay: Millis::from_millis(100),
            max_delay: Millis::from_secs(10),
            give_up_after: Seconds::from_secs(120),
        }
    }
}

/// How events are put together and how many may wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = schema::kubernetes)]
pub struct HookBatch {
    /// The most events of one delivery. 1: each is delivered by itself, not in a batch.
    #[schemars(range(min = 1, max = 1_000))]
    pub max_events: u32,
    /// How long an event waits for others.
    #[schemars(transform = schema::between("0s", "1m"))]
    pub max_age: Millis,
    /// Events that wait; those past that are dropped and counted.
    #[schemars(range(min = 1, max = 100_000))]
    pub queue: u32,
}

impl Default for HookBatch {
    fn default() -> Self {
        Self {
            max_events: 100,
            max_age: Millis::from_millis(200),
            queue: 10_000,
        }
    }
}

/// When a hook is taken to be down: it is not asked for a while, which fails at once, and then one request tries it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = schema::kubernetes)]
pub struct HookCircuit {
    /// Failures in a row. 0: it is always asked.
    #[schemars(range(min = 0, max = 1_000))]
    pub failures: u32,
    /// For how long it is not asked.
    #[schemars(transform = schema::between("100ms", "10m"))]
    pub open_for: Seconds,
}

impl Default for HookCircuit {
    fn default() -> Self {
        Self {
            failures: 5,
            open_for: Seconds::from_secs(10),
        }
    }
}

impl HookConfig {
    /// The URL that its target stands for.
    pub fn to_url(&self) -> Option<String> {
        let HookTarget {
            service,
            url,
            local,
        } = &self.target;
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        match (service, url, local) {
            (Some(service), _, _) => {
                let HookService { name, port, path } = service;
                Some(format!("{scheme}://{name}:{port}{path}"))
            }
            (None, Some(url), _) => Some(url.clone()),
            (None, None, Some(local)) => {
                let HookLocal { port, path } = local;
                Some(format!("{scheme}://127.0.0.1:{port}{path}"))
            }
            (None, None, None) => None,
        }
    }

    /// Notes what the keys of all hooks do not mean together.
    pub(crate) fn rules(hooks: &[Self], problems: &mut Problems) {
        let mut names = BTreeSet::new();
        for (index, hook) in hooks.iter().enumerate() {
            let at = format!("hooks[{index}]");
            if !names.insert(hook.name.as_str()) {
                let why = format!("must differ from all other names, is {}", hook.name);
                problems.invalid(join(&at, "name"), why);
            }
            if hook.on.is_none() && hook.points.is_empty() && hook.events.is_empty() {
                let why = "must name something to take part in, here or in events";
                problems.invalid(join(&at, "points"), why);
            }
            hook.target.rules(&join(&at, "target"), problems);
            let is_plain = |url: &String| !url.starts_with("https:");
            if hook.tls.is_some() && hook.target.url.as_ref().is_some_and(is_plain) {
                problems.invalid(join(&at, "tls"), "needs an https url");
            }
            let (base, max) = (hook.retry.base_delay, hook.retry.max_delay);
            if max < base {
                let why = format!("must be at least baseDelay ({base}), is {max}");
                problems.invalid(join(&at, "retry.maxDelay"), why);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::GatewayConfig;

    fn problems(hooks: &str) -> String {
        let set = format!("hooks={hooks}");
        match GatewayConfig::load(None, [], &[set]) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_hook_needs_a_name_a_target_and_something_to_take_part_in() {
        assert_eq!(
            problems("[{name: a, points: [connect], target: {local: {port: 1}}}]"),
            ""
        );
        let missing = problems("[{points: [connect]}]");
        assert!(missing.contains("hooks[0].name"), "{missing}");
        assert!(missing.contains("hooks[0].target"), "{missing}");
        let nothing = problems("[{name: a, target: {local: {port: 1}}}]");
        assert!(nothing.contains("hooks[0].points"), "{nothing}");
        let old = problems("[{name: a, on: [connect], target: {local: {port: 1}}}]");
        assert!(old.contains("hooks[0].on: was renamed to points"), "{old}");
        assert!(!old.contains("hooks[0].points"), "{old}");
        let two =
            "[{name: a, points: [sent], target: {local: {port: 1}, url: 'http://a.example'}}]";
        assert!(problems(two).contains("hooks[0].target.url"));
        let twice = "{name: a, points: [sent], target: {local: {port: 1}}}";
        assert!(problems(&format!("[{twice}, {twice}]")).contains("hooks[1].name"));
    }

    #[test]
    fn tls_is_for_targets_that_speak_it() {
        let with = |target: &str| {
            let tls = "tls: {caSecretRef: {name: ca, key: ca.crt}, serverName: a.example}";
            format!("[{{name: a, points: [sent], target: {{{target}}}, {tls}}}]")
        };
        for (target, fine) in [
            ("url: 'https://a.example/x'", true),
            ("url: 'http://a.example/x'", false),
            ("service: {name: rules, port: 443}", true),
            ("local: {port: 8443}", true),
        ] {
            let said = problems(&with(target));
            assert_eq!(said.is_empty(), fine, "{target}: {said}");
            assert!(fine || said.contains("hooks[0].tls"), "{said}");
        }
        let set = format!(
            "hooks={}",
            with("service: {name: rules, port: 443, path: /x}")
        );
        let config = GatewayConfig::load(None, [], &[set]).unwrap();
        let url = config.hooks[0].to_url();
        assert_eq!(url.as_deref(), Some("https://rules:443/x"));
    }

    #[test]
    fn a_url_has_the_form_of_one_and_stays_out_of_the_cluster() {
        for (url, fine) in [
            ("https://hooks.example.com/a?b=c", true),
            ("http://chat.other.svc/", false),
            ("ftp://a.example", false),
            ("http://user@a.example", false),
        ] {
            let hook = format!("[{{name: a, points: [sent], target: {{url: '{url}'}}}}]");
            let said = problems(&hook);
            assert_eq!(said.is_empty(), fine, "{url}: {said}");
        }
    }
}
