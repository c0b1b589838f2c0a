//! The operator. Without a subcommand it runs; see `quorate --help`.

use clap::{Parser, Subcommand};
use quorate::runtime::{manifests, operator};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

/// Approvals for Kubernetes: people's decisions as a first-class part of a cluster.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    operator: operator::Arguments,
}

#[derive(Subcommand)]
enum Command {
    /// Write the CRD manifests into folders, one file per kind.
    Crds {
        /// The folders to write to.
        #[arg(long, default_values = ["crds", "charts/quorate/files/crds"])]
        dir: Vec<PathBuf>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quorate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    if let Some(Command::Crds { dir }) = arguments.command {
        return dir.iter().try_for_each(|dir| manifests::write(dir));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(operator::run(arguments.operator))?)
}
