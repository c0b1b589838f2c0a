//! `testbed demo`: two of five people approve a certificate, on a real control plane, told as it happens.
//!
//! Every sentence with a tick was checked in the moment it was printed. One that does not hold ends the story with exit
//! status 1.
//!
//! - [`story`]: what happens
//! - [`cast`]: who plays, and what their objects are called
//! - [`access`]: how they reach the cluster
//! - [`guest`]: playing on a cluster that is not ours, and leaving it as it was
//! - [`certificate`]: asking for a certificate, and reading it
//! - [`telling`]: how it looks
#![allow(clippy::doc_markdown, reason = "names of Kubernetes kinds are words here")]

mod access;
mod cast;
mod certificate;
mod guest;
mod story;
mod telling;

use std::process::ExitCode;

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cluster::{ControlPlane, Operator, OperatorOptions, Options};
use access::Access;
use cast::Names;
use guest::Guest;
use story::Story;
use telling::Telling;

const TITLE: &str = "Quorate: two of five people approve a certificate";

/// How much of the operator's log is shown when a claim does not hold.
const LOG_LINES: usize = 12;

/// Plays on a control plane of its own, or on the cluster of a context.
pub async fn run(context: Option<&str>) -> ExitCode {
    let telling = Telling::begin(TITLE);
    let well = match Interrupts::listen() {
        Ok(interrupts) => match context {
            None => at_home(&telling, interrupts).await,
            Some(context) => as_guest(&telling, context, interrupts).await,
        },
        Err(why) => {
            telling.failed(&why, None);
            false
        }
    };
    if well {
        telling.end();
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// On a control plane of its own, which goes with everything on it.
async fn at_home(telling: &Telling, mut interrupts: Interrupts) -> bool {
    let mut home = None;
    let told = tokio::select! {
        told = play_at_home(telling, &mut home) => told,
        interrupted = interrupts.next() => Err(interrupted.into()),
    };
    let log = home.map(|home| home.operator.log_tail(LOG_LINES));
    conclude(telling, told, log.as_deref())
}

/// A control plane and the operator on it.
struct Home {
    operator: Operator,
    access: Access,
}

async fn play_at_home(telling: &Telling, home: &mut Option<Home>) -> Result<()> {
    telling.explain(
        "Starting etcd, kube-apiserver, kube-controller-manager; then the chart and the operator of this checkout.",
    );
    let control_plane = ControlPlane::start(Options { audit: false, ..Options::default() }).await?;
    control_plane.install_chart(&["deployment.enabled=false"]).await?;
    let operator = Operator::spawn(&control_plane, OperatorOptions::beside_this_program()?).await?;
    let Home { operator, access } =
        home.insert(Home { operator, access: Access::Certificates(Box::new(control_plane)) });
    operator.wait_ready().await?;
    telling.explain(
        "Whoever stands before the $ has typed it, with a client certificate of their own; admin may do everything.",
    );
    Story { access, names: &Names::plain(), telling }.play().await
}

/// On the cluster of a context, which is left as it was: also when the story fails or is interrupted.
async fn as_guest(telling: &Telling, context: &str, mut interrupts: Interrupts) -> bool {
    let guest = tokio::select! {
        arrived = Guest::arrive(context) => arrived,
        interrupted = interrupts.next() => Err(interrupted.into()),
    };
    let guest = match guest {
        Ok(guest) => guest,
        Err(why) => return conclude(telling, Err(why), None),
    };
    let server = guest.version().to_owned();
    let access = Access::Impersonation(guest);
    let Access::Impersonation(guest) = &access else { return false };
    let mut operator = None;
    let told = tokio::select! {
        told = async {
            if guest.has_quorate() {
                telling.explain(&format!("Context {context}: Kubernetes {server}, with a Quorate of its own, which is used as it is."));
            } else {
                telling.explain(&format!("Context {context}: Kubernetes {server}. Installing the chart of this checkout until the end; the operator runs here."));
                operator = Some(guest.install().await?);
            }
            telling.explain(&format!("`kubectl` stands for `kubectl --context {context}`. Everybody is impersonated by the user of that context, who may do everything."));
            Story { access: &access, names: guest.names(), telling }.play().await
        } => told,
        interrupted = interrupts.next() => Err(interrupted.into()),
    };
    let log = match (&told, &operator) {
        (Ok(()), _) => None,
        (Err(_), Some(operator)) => Some(operator.log_tail(LOG_LINES)),
        (Err(_), None) => Some(guest.log_tail().await),
    };
    let held = conclude(telling, told, log.as_deref());
    guest.tidy_up(operator, telling).await && held
}

/// Says what failed, if anything did.
fn conclude(telling: &Telling, told: Result<()>, log: Option<&str>) -> bool {
    let Err(why) = told else { return true };
    let log = log.filter(|_| !why.is::<Interrupted>());
    telling.failed(&why, log);
    false
}

/// Somebody wants the story to end.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
struct Interrupted;

/// Ctrl-C and its like. While this lives, and after, they end nothing by themselves: tidying up is not interrupted.
struct Interrupts([Signal; 3]);

impl Interrupts {
    fn listen() -> Result<Self> {
        Ok(Self([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?]))
    }

    async fn next(&mut self) -> Interrupted {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        Interrupted
    }
}
