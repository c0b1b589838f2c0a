//! kubectl and helm against a control plane, as anybody.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::control_plane::ControlPlane;
use super::program;

/// What a program said.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its exit status.
    pub status: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// Its standard output, when it succeeded.
    pub fn ok(self) -> Result<String> {
        ensure!(self.status == 0, "exit status {}: {}{}", self.status, self.stderr, self.stdout);
        Ok(self.stdout)
    }

    /// Whether it succeeded.
    pub fn success(&self) -> bool {
        self.status == 0
    }
}

impl ControlPlane {
    /// kubectl as the one who may do everything.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<Output> {
        self.run_tool("kubectl", &self.admin_kubeconfig()?, arguments, "").await
    }

    /// kubectl as a person.
    pub async fn kubectl_as(&self, user: &str, groups: &[&str], arguments: &[&str]) -> Result<Output> {
        self.run_tool("kubectl", &self.kubeconfig_for(user, groups)?, arguments, "").await
    }

    /// `kubectl apply` of YAML as the one who may do everything.
    pub async fn apply(&self, yaml: &str) -> Result<Output> {
        self.run_tool("kubectl", &self.admin_kubeconfig()?, &["apply", "-f", "-"], yaml).await
    }

    /// `kubectl apply` of YAML as a person.
    pub async fn apply_as(&self, user: &str, groups: &[&str], yaml: &str) -> Result<Output> {
        self.run_tool("kubectl", &self.kubeconfig_for(user, groups)?, &["apply", "-f", "-"], yaml).await
    }

    /// helm as the one who may do everything.
    pub async fn helm(&self, arguments: &[&str]) -> Result<Output> {
        self.run_tool("helm", &self.admin_kubeconfig()?, arguments, "").await
    }

    /// Runs kubectl, helm or a program given by its path, with a kubeconfig and a standard input.
    pub async fn run_tool(&self, tool: &str, kubeconfig: &Path, arguments: &[&str], input: &str) -> Result<Output> {
        let path = if tool.contains('/') { tool.into() } else { program(tool)? };
        let mut command = Command::new(path);
        command
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            // Nothing remembered from other clusters, nothing left in the home folder.
            .env("KUBECACHEDIR", self.folder().join("kubectl-cache"))
            .env("HELM_CACHE_HOME", self.folder().join("helm/cache"))
            .env("HELM_CONFIG_HOME", self.folder().join("helm/config"))
            .env("HELM_DATA_HOME", self.folder().join("helm/data"));
        run(command, input).await.with_context(|| format!("{tool} does not start"))
    }
}

/// Runs a program to its end, with a standard input.
pub async fn run(mut command: Command, input: &str) -> Result<Output> {
    // A group of its own: Ctrl-C in a terminal is for this process, which then ends what it started.
    command.process_group(0).kill_on_drop(true);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input closes it: no failure.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = child.wait_with_output().await?;
    Ok(Output {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
