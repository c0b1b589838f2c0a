//! What the Makefile calls: a real control plane of this checkout, with the operator or without.
//!
//! (It is not called `main.rs` because Cargo would take `tests/cluster/main.rs` for an integration test.)

mod bench;
#[path = "mod.rs"]
mod cluster;
mod demo;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use cluster::{ControlPlane, Operator, OperatorOptions, Options, kept, root};
use tokio::signal::unix::{SignalKind, signal};

/// A real control plane for trying Quorate
#[derive(Parser)]
#[command(name = "testbed")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the control plane in the background
    Start,
    /// Stop the control plane
    Stop,
    /// Run the control plane (unless it runs already) and the operator until Ctrl-C
    Up {
        /// A file with more values for the chart
        #[arg(long)]
        values: Option<PathBuf>,
        /// The server that takes mail, such as `smtp://127.0.0.1:1025`
        #[arg(long, env = "SMTP_URL")]
        smtp_url: Option<String>,
    },
    /// Write a kubeconfig for a person and print its path
    Kubeconfig {
        /// The user's name
        #[arg(long)]
        user: String,
        /// The groups the user is in, separated by commas
        #[arg(long, value_delimiter = ',')]
        groups: Vec<String>,
    },
    /// Tell how two of five people approve a certificate, on a control plane of its own
    Demo {
        /// Play on the cluster of this context of your kubeconfig instead, and leave it as it was
        #[arg(long)]
        context: Option<String>,
    },
    /// Measure the operator against a control plane of its own
    Bench {
        /// Ten times less of everything: to see that it works
        #[arg(long)]
        quick: bool,
        /// One part alone
        #[arg(long)]
        only: Option<bench::Part>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Start => start().await,
        Command::Stop => kept::stop().await,
        Command::Up { values, smtp_url } => up(values, smtp_url).await,
        Command::Kubeconfig { user, groups } => kubeconfig(&user, &groups),
        Command::Demo { context } => return demo::run(context.as_deref()).await,
        Command::Bench { quick, only } => bench::run(quick, only).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("testbed: {why:#}");
            ExitCode::FAILURE
        }
    }
}

async fn start() -> Result<()> {
    let (control_plane, _) = kept::running_or_start(&Options::default()).await?;
    control_plane.detach()?;
    println!("The control plane runs until `make cluster-down`. Reach it with:");
    println!("export KUBECONFIG={}", kept::admin_kubeconfig().display());
    Ok(())
}

fn kubeconfig(user: &str, groups: &[String]) -> Result<()> {
    let control_plane = kept::running()?.context("no control plane runs: `make cluster` or `make up` starts one")?;
    let groups: Vec<&str> = groups.iter().map(String::as_str).filter(|group| !group.is_empty()).collect();
    println!("{}", control_plane.kubeconfig_for(user, &groups)?.display());
    Ok(())
}

/// Runs until a signal asks to end, which may come at any moment, or until something that must run has ended.
async fn up(values: Option<PathBuf>, smtp_url: Option<String>) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Dropping what `run` holds ends what it started.
    tokio::select! {
        failed = run(values, smtp_url) => failed,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

async fn run(values: Option<PathBuf>, smtp_url: Option<String>) -> Result<()> {
    let (control_plane, started_here) = kept::running_or_start(&Options::default()).await?;
    let _forget = started_here.then(|| Forget);
    let files: Vec<_> = [root().join("tests/cluster/playground.yaml")].into_iter().chain(values).collect();
    control_plane.install_chart_with(&files, &["deployment.enabled=false"]).await?;
    let mut options = OperatorOptions::beside_this_program()?;
    options.environment = control_plane.operator_environment().await?;
    let smtp_url = smtp_url.filter(|url| !url.is_empty());
    options.environment.extend(smtp_url.map(|url| ("QUORATE_SMTP_URL".to_owned(), url)));
    let operator = Operator::spawn(&control_plane, options).await?;
    operator.wait_ready().await?;

    println!("export KUBECONFIG={}", kept::admin_kubeconfig().display());
    println!("The operator serves http://{} and logs to {}", operator.address(), operator.log().display());
    println!("ready");
    watch(&control_plane, &operator).await
}

/// Ends when the operator or the control plane has ended.
async fn watch(control_plane: &ControlPlane, operator: &Operator) -> Result<()> {
    loop {
        if let Some(status) = operator.exit_status() {
            bail!("the operator ended with status {status}. The end of its log:\n{}", operator.log_tail(30));
        }
        if !control_plane.folder().exists() {
            bail!("the control plane was stopped");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Removes the credentials for a control plane that ends.
struct Forget;

impl Drop for Forget {
    fn drop(&mut self) {
        kept::forget();
    }
}
