//! `Members`: the managed Redis, with replicas or alone, run without Kubernetes by the very files that the operator makes: those
//! of the golden files, with other directories and ports. What the kubelet does is done here: start, end with the hook first, ask the
//! probes, and replace the Secret.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::program::replace_file;
use crate::redis::Scratch;
use crate::world::port;

/// What a member that starts and is in step needs, on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// One pod: two directories of mounted files, two of its own, and its processes while they run. One alone has no Sentinel.
struct Member {
    dir: PathBuf,
    redis: Option<Child>,
    sentinel: Option<Child>,
}

/// See the module.
pub struct Members {
    all: Vec<Member>,
    /// Of Redis and the Sentinel of each.
    pub ports: Vec<(u16, u16)>,
    _scratch: Scratch,
}

impl Members {
    /// Starts a primary with replicas and waits until all are ready.
    pub async fn start(password: &str) -> Self {
        Self::of(3, "replicated-redis", password).await
    }

    /// The same for a Redis that is alone.
    pub async fn alone(password: &str) -> Self {
        Self::of(1, "cluster", password).await
    }

    /// So many by the files of a golden file.
    async fn of(number: usize, golden: &str, password: &str) -> Self {
        let scratch = Scratch::new();
        let ports: Vec<(u16, u16)> = (0..number).map(|_| (port(), port())).collect();
        let members = (0..ports.len()).map(|ordinal| Member {
            dir: scratch.path().join(ordinal.to_string()),
            redis: None,
            sentinel: None,
        });
        let mut these = Self {
            all: members.collect(),
            ports,
            _scratch: scratch,
        };
        let files = rendered(golden);
        for member in &these.all {
            for part in ["etc", "auth", "data", "run"] {
                fs::create_dir_all(member.dir.join(part)).unwrap();
            }
            for (name, text) in &files {
                let text = these.placed(&member.dir, text);
                fs::write(member.dir.join("etc").join(name), text).unwrap();
            }
        }
        these.set_password(password);
        for ordinal in 0..these.all.len() {
            these.begin(ordinal);
        }
        for ordinal in 0..these.all.len() {
            these.until_ready(ordinal).await;
        }
        these
    }

    /// The text with this member's directories, and everybody's addresses.
    fn placed(&self, dir: &Path, text: &str) -> String {
        let mut text = text.to_owned();
        for (from, to) in [
            ("/etc/redis-auth", "auth"),
            ("/run/redis", "run"),
            ("/data", "data"),
        ] {
            text = text.replace(from, &dir.join(to).display().to_string());
        }
        for (ordinal, (redis, sentinel)) in self.ports.iter().enumerate() {
            let from = format!("chat-redis-{ordinal}.chat-redis-members:6379:26379");
            text = text.replace(&from, &format!("localhost:{redis}:{sentinel}"));
            text = text.replace("localhost:6379:\n", &format!("localhost:{redis}:\n"));
        }
        text
    }

    /// What the kubelet does when the Secret has changed.
    pub fn set_password(&self, password: &str) {
        for member in &self.all {
            let line = format!("requirepass {password}\n");
            replace_file(&member.dir.join("auth/auth.conf"), &line);
        }
    }

    /// The script, for this member.
    fn script(&self, ordinal: usize, part: &str) -> Command {
        let dir = &self.all[ordinal].dir;
        let log = || {
            File::options()
                .append(true)
                .create(true)
                .open(dir.join("log"))
                .unwrap()
        };
        let mut command = Command::new("sh");
        command
            .arg(dir.join("etc/member.sh"))
            .arg(part)
            .env("POD_NAME", format!("chat-redis-{ordinal}"))
            .stdin(Stdio::null())
            .stdout(log())
            .stderr(log());
        command
    }

    /// A pod begins.
    pub fn begin(&mut self, ordinal: usize) {
        let start = |part| self.script(ordinal, part).spawn().unwrap();
        let (redis, sentinel) = if self.is_alone() {
            (start("alone"), None)
        } else {
            let sentinel = start("sentinel");
            (start("redis"), Some(sentinel))
        };
        let member = &mut self.all[ordinal];
        (member.redis, member.sentinel) = (Some(redis), sentinel);
    }

    /// A pod is gone without a word, as with its machine.
    pub fn kill(&mut self, ordinal: usize) {
        for mut child in self.all[ordinal].children().into_iter().flatten() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// A pod is ended as Kubernetes ends one: the hook runs before Redis hears of it, the Sentinel goes at once.
    pub async fn end(&mut self, ordinal: usize) {
        let mut hook = self.script(ordinal, "stop").spawn().unwrap();
        let [redis, sentinel] = self.all[ordinal].children();
        terminate(sentinel.unwrap()).await;
        until("the hook ends", Duration::from_secs(60), || {
            hook.try_wait().unwrap().is_some()
        })
        .await;
        terminate(redis.unwrap()).await;
    }

    /// The readiness probes succeed.
    pub async fn until_ready(&self, ordinal: usize) {
        let ready = || self.is_ready(ordinal);
        until(&format!("member {ordinal} is ready"), READY_WITHIN, ready).await;
    }

    /// Asks the readiness probes.
    pub fn is_ready(&self, ordinal: usize) -> bool {
        let asked = |part| self.script(ordinal, part).status().unwrap().success();
        if self.is_alone() {
            return asked("alone-ready");
        }
        let (redis, sentinel) = (asked("redis-ready"), asked("sentinel-ready"));
        redis && sentinel
    }

    /// Which is the primary by its own word.
    pub fn primary(&self, password: &str) -> Option<usize> {
        (0..self.all.len())
            .find(|ordinal| self.ask(*ordinal, password, "role").starts_with("master"))
    }

    /// What `redis-cli` prints for a command to the Redis of a member.
    pub fn ask(&self, ordinal: usize, password: &str, command: &str) -> String {
        cli(self.ports[ordinal].0, password, command)
    }

    /// What names the process of the first one's Redis.
    pub fn run_id(&self, password: &str) -> String {
        let info = self.ask(0, password, "info server");
        let line = info.lines().find(|line| line.starts_with("run_id:"));
        line.unwrap_or_else(|| panic!("no run id in {info}"))
            .to_owned()
    }

    /// What this member's script and servers wrote.
    pub fn log(&self, ordinal: usize) -> String {
        let text = fs::read(self.all[ordinal].dir.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    fn is_alone(&self) -> bool {
        self.all.len() == 1
    }

    /// As many as there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }
}

impl Member {
    fn children(&mut self) -> [Option<Child>; 2] {
        [self.redis.take(), self.sentinel.take()]
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        for member in &mut self.all {
            for mut child in member.children().into_iter().flatten() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        if std::thread::panicking() {
            for ordinal in 0..self.all.len() {
                let log = self.log(ordinal);
                let lines: Vec<&str> = log.lines().collect();
                let last = &lines[lines.len().saturating_sub(60)..];
                eprintln!("--- member {ordinal}\n{}", last.join("\n"));
            }
        }
    }
}

fn cli(port: u16, password: &str, command: &str) -> String {
    let output = Command::new("redis-cli")
        .args(["-p", &port.to_string()])
        .args(command.split(' '))
        .env("REDISCLI_AUTH", password)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

async fn terminate(mut child: Child) {
    let sent = Command::new("kill").arg(child.id().to_string()).status();
    assert!(sent.unwrap().success());
    until("a process ends", Duration::from_secs(60), || {
        child.try_wait().unwrap().is_some()
    })
    .await;
}

/// The files of the managed Redis' `ConfigMap`, as the operator makes them: its own test holds it to this file.
fn rendered(golden: &str) -> Vec<(String, String)> {
    let golden = format!("../operator/tests/fixtures/{golden}.out.yaml");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(golden);
    let golden = fs::read_to_string(golden).unwrap();
    let objects = golden
        .split("\n---\n")
        .map(|text| serde_saphyr::from_str::<Value>(text).unwrap());
    let map = objects
        .into_iter()
        .find(|object| object["kind"] == "ConfigMap" && object["metadata"]["name"] == "chat-redis")
        .unwrap();
    let files = map["data"].as_object().unwrap().iter();
    files
        .map(|(name, text)| (name.clone(), text.as_str().unwrap().to_owned()))
        .collect()
}

pub async fn until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
