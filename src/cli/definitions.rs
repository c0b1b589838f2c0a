//! `quorate check` and `quorate diagram`: look at definitions in files, without a cluster. What is wrong with one is found by
//! [`crate::engine`], and drawn by [`crate::diagram`].

use super::files::{self, Manifest};
use crate::api::{WorkflowDefinitionSpec, WorkflowInstance};
use crate::diagram::{self, Drawing};
use crate::engine::graph::{Graph, compile, warnings};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The arguments of `quorate check`.
#[derive(Clone, Debug, clap::Args)]
pub struct Check {
    /// Manifests with WorkflowDefinitions, and folders of them; other kinds are passed over.
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
}

/// The arguments of `quorate diagram`.
#[derive(Clone, Debug, clap::Args)]
pub struct Diagram {
    /// A manifest with a `WorkflowDefinition`.
    pub file: PathBuf,
    /// Which one, where there are several.
    #[arg(long)]
    pub name: Option<String>,
    /// An instance that runs on it, as `kubectl get wfi NAME -o yaml` prints it: where it stands is marked.
    #[arg(long)]
    pub instance: Option<PathBuf>,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Svg)]
    pub format: Format,
}

/// What a diagram is printed as.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Format {
    /// A picture.
    Svg,
    /// Mermaid text.
    Mermaid,
}

/// Checks every definition: a line for each, and what is wrong with it.
///
/// # Errors
/// When a file cannot be read, or `out` not be written to.
pub fn check(arguments: &Check, out: &mut impl Write) -> io::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    let mut any = false;
    for path in &arguments.paths {
        for (file, text) in files::manifests(path)? {
            for (name, spec) in definitions(&file, &text)? {
                any = true;
                match compile(&spec) {
                    Ok(graph) => {
                        writeln!(out, "ok    {}  {name}", file.display())?;
                        for warning in warnings(&graph) {
                            writeln!(out, "      warning: {warning}")?;
                        }
                    }
                    Err(faults) => {
                        code = ExitCode::FAILURE;
                        writeln!(out, "FAIL  {}  {name}", file.display())?;
                        for fault in faults {
                            writeln!(out, "      {fault}")?;
                        }
                    }
                }
            }
        }
    }
    if any { Ok(code) } else { Err(io::Error::other("there is no WorkflowDefinition in these files")) }
}

/// Draws one definition, or an instance that runs on it.
///
/// # Errors
/// When a file cannot be read or drawn, or `out` not be written to.
pub fn draw(arguments: &Diagram, out: &mut impl Write) -> io::Result<()> {
    let graph = the_graph(arguments)?;
    let instance = arguments.instance.as_ref().map(|path| the_instance(path)).transpose()?;
    let drawing = Drawing::of(&graph, instance.as_ref().and_then(|instance| instance.status.as_ref()));
    match arguments.format {
        Format::Svg => writeln!(out, "{}", diagram::svg(&drawing)),
        Format::Mermaid => writeln!(out, "{}", diagram::mermaid(&drawing)),
    }
}

fn the_graph(arguments: &Diagram) -> io::Result<Graph> {
    let file = &arguments.file;
    let mut found = definitions(file, &files::text(file)?)?;
    let known: Vec<String> = found.iter().map(|(name, _)| name.clone()).collect();
    if let Some(wanted) = &arguments.name {
        found.retain(|(name, _)| name == wanted);
    }
    let [(name, spec)] = found.as_slice() else {
        let message =
            format!("{}: choose one WorkflowDefinition by --name; it has {}", file.display(), known.join(", "));
        return Err(io::Error::other(message));
    };
    compile(spec).map_err(|faults| {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        io::Error::other(format!("{}: {name} cannot work: {}", file.display(), faults.join("; ")))
    })
}

fn the_instance(path: &Path) -> io::Result<WorkflowInstance> {
    let text = files::text(path)?;
    serde_saphyr::from_str(&text).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}

fn definitions(file: &Path, text: &str) -> io::Result<Vec<(String, WorkflowDefinitionSpec)>> {
    let found = files::objects(file, text)?.into_iter().filter(|object| object.kind == "WorkflowDefinition");
    found
        .map(|Manifest { name, spec, .. }| {
            let read = crate::scenario::read_spec("WorkflowDefinition", "spec", &spec);
            let read = read.map_err(|finding| io::Error::other(format!("{}: {name}: {finding}", file.display())))?;
            Ok((name, read))
        })
        .collect()
}
