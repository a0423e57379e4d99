//! `Tools`: helm and kubectl as users run them, for one API server.

use std::path::PathBuf;
use std::process::Command;

use crate::plane::program;

/// See the module; it has the kubeconfig that they go by.
pub struct Tools(pub PathBuf);

impl Tools {
    /// What it printed, or what it complained of.
    pub fn tried(&self, tool: &str, args: &[&str]) -> Result<String, String> {
        let mut command = Command::new(program(tool));
        let done = command.args(args).env("KUBECONFIG", &self.0).output();
        let done = done.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if done.status.success() {
            Ok(text(&done.stdout))
        } else {
            Err(text(&done.stderr))
        }
    }

    /// What it printed.
    pub fn run(&self, tool: &str, args: &[&str]) -> String {
        let done = self.tried(tool, args);
        done.unwrap_or_else(|said| panic!("{tool} {args:?}: {said}"))
    }
}
