//! The operator. Without a subcommand it runs; see `quorate --help`.

use clap::{Parser, Subcommand};
use quorate::cli::{definitions, test, why};
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
    /// Play scenarios: test definitions and the directory without a cluster. Exits with 1 when one fails, 2 when one cannot be read.
    Test(test::Arguments),
    /// Say what is wrong with definitions in files, before they are applied. Exits with 1 when one cannot work.
    Check(definitions::Check),
    /// Draw a definition, or an instance that runs on it, as a picture or as Mermaid text.
    Diagram(definitions::Diagram),
    /// Say why an instance has not moved: who may decide, who still can, what is missing, what happens next.
    Why(why::Arguments),
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("quorate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode, Box<dyn Error>> {
    match arguments.command {
        Some(Command::Crds { dir }) => dir.iter().try_for_each(|dir| manifests::write(dir))?,
        Some(Command::Test(arguments)) => {
            return Ok(test::run(&arguments, &mut std::io::stdout().lock())?.into());
        }
        Some(Command::Check(arguments)) => {
            return Ok(definitions::check(&arguments, &mut std::io::stdout().lock())?);
        }
        Some(Command::Diagram(arguments)) => definitions::draw(&arguments, &mut std::io::stdout().lock())?,
        Some(Command::Why(arguments)) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            print!("{}", runtime.block_on(why::run(&arguments))?);
        }
        None => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(operator::run(arguments.operator))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
