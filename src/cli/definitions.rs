//! `quorate check` and `quorate diagram`: look at definitions in files, without a cluster. What is wrong with one is found by
//! [`crate::engine`], and drawn by [`crate::diagram`]; what is wrong with topics and schedules of mails, by [`crate::notify`].

use super::files::{text, yaml_files};
use super::notifications;
use crate::api::{WorkflowDefinitionSpec, WorkflowInstance};
use crate::diagram::{self, Drawing};
use crate::engine::graph::{Graph, compile, warnings};
use crate::scenario::{self, Finding, NamedFile};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The arguments of `quorate check`.
#[derive(Clone, Debug, clap::Args)]
pub struct Check {
    /// Manifests with `WorkflowDefinitions`, `NotificationTopics`, Digests and Reminders, and folders of them; other kinds are
    /// passed over.
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

/// What was found in one object.
pub(super) struct Checked {
    pub(super) name: String,
    pub(super) warnings: Vec<String>,
    pub(super) faults: Vec<String>,
}

/// Checks every object of those kinds: a line for each, and what is wrong with it.
///
/// # Errors
/// When a file cannot be read, or `out` not be written to.
pub fn check(arguments: &Check, out: &mut impl Write) -> io::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    let mut any = false;
    for path in &arguments.paths {
        for file in yaml_files(path).map_err(io::Error::other)? {
            let named = named(&file)?;
            let definitions = scenario::definitions(&named).map_err(unreadable)?;
            let definitions = definitions.into_iter().map(|(name, spec)| definition(name, &spec));
            for checked in definitions.chain(notifications::checked(&named).map_err(unreadable)?) {
                any = true;
                let Checked { name, warnings, faults } = checked;
                let mark = if faults.is_empty() { "ok   " } else { "FAIL " };
                writeln!(out, "{mark} {}  {name}", file.display())?;
                for warning in warnings {
                    writeln!(out, "      warning: {warning}")?;
                }
                for fault in faults {
                    code = ExitCode::FAILURE;
                    writeln!(out, "      {fault}")?;
                }
            }
        }
    }
    let nothing = "there is no WorkflowDefinition, NotificationTopic, Digest or Reminder in these files";
    if any { Ok(code) } else { Err(io::Error::other(nothing)) }
}

fn definition(name: String, spec: &WorkflowDefinitionSpec) -> Checked {
    let (warnings, faults) = match compile(spec) {
        Ok(graph) => (warnings(&graph), Vec::new()),
        Err(faults) => (Vec::new(), faults.iter().map(ToString::to_string).collect()),
    };
    Checked { name, warnings, faults }
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
    let mut found = definitions(file)?;
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
    let text = text(path).map_err(io::Error::other)?;
    serde_saphyr::from_str(&text).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}

fn definitions(file: &Path) -> io::Result<Vec<(String, WorkflowDefinitionSpec)>> {
    scenario::definitions(&named(file)?).map_err(unreadable)
}

fn named(file: &Path) -> io::Result<NamedFile> {
    Ok(NamedFile { name: file.display().to_string(), text: text(file).map_err(io::Error::other)? })
}

#[expect(clippy::needless_pass_by_value, reason = "it stands where an error is mapped")]
fn unreadable(finding: Finding) -> io::Error {
    io::Error::other(finding.to_string())
}

#[cfg(test)]
mod tests {
    use super::{Check, Diagram, Format, check, draw};
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::ExitCode;

    fn checked(paths: &[&Path]) -> (Result<bool, String>, String) {
        let mut out = Vec::new();
        let paths = paths.iter().map(|path| path.to_path_buf()).collect();
        let code = check(&Check { paths }, &mut out).map_err(|error| error.to_string());
        let said = code.map(|code| format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS));
        (said, String::from_utf8(out).expect("text"))
    }

    fn example(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
    }

    #[test]
    fn r19_definitions_are_checked_offline_with_the_exact_place() {
        let (said, output) = checked(&[&example("four-people"), &example("certificate-two-of-five")]);
        assert_eq!(said, Ok(true), "{output}");
        assert!(output.contains("issue-card") && output.contains("warning: spec.nodes[enrollment]"), "{output}");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("wrong.yaml");
        let text = "apiVersion: quorate.dev/v1alpha1\nkind: WorkflowDefinition\nmetadata: {name: wrong}\nspec: {nodes: [{name: a, approval: {approvers: [{expression: nosuch}]}, next: {rejected: b}}]}\n";
        fs::write(&file, text).expect("a file");
        let (said, output) = checked(&[folder.path()]);
        assert_eq!(said, Ok(false), "{output}");
        assert!(output.contains("spec.nodes[a].approval.approvers[0].expression: line 1, column 1"), "{output}");
        assert!(output.contains("spec.nodes[a].next.rejected: there is no node b"), "{output}");
        fs::write(&file, text.replace("next", "nxt")).expect("a file");
        let (said, _) = checked(&[&file]);
        assert!(said.as_ref().is_err_and(|why| why.contains("nxt")), "{said:?}");
        let (said, _) = checked(&[&example("four-people/policy/people.yaml")]);
        assert!(said.is_err(), "files without definitions are no success");
    }

    #[test]
    fn r45_topics_and_schedules_are_checked_offline() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("mail.yaml");
        let text = "apiVersion: quorate.dev/v1alpha1\nkind: NotificationTopic\nmetadata: {name: task-digest}\nspec:\n  templates:\n  - {locale: en, subject: Tasks, text: \"{{ totalCount }}\"}\n---\napiVersion: quorate.dev/v1alpha1\nkind: Digest\nmetadata: {name: daily}\nspec: {schedule: 0 7 * * 1-5, timeZone: Europe/Prague}\n---\napiVersion: quorate.dev/v1alpha1\nkind: Reminder\nmetadata: {name: weekly}\nspec: {schedule: 0 7 * * 1, minDaysOpen: 7, maxDaysOpen: 13}\n";
        fs::write(&file, text).expect("a file");
        let (said, output) = checked(&[&file]);
        assert_eq!(said, Ok(true), "{output}");
        for name in ["NotificationTopic task-digest", "Digest daily", "Reminder weekly"] {
            assert!(output.contains(&format!("ok    {}  {name}\n", file.display())), "{output}");
        }
        for (right, wrong, fault) in [
            (
                "{{ totalCount }}",
                "{{ total }}",
                "spec.templates[0] (en): text: line 1, column 4: there is no parameter total",
            ),
            ("locale: en", "locale: e", "spec.templates[0] (e): locale: \"e\" is no language tag"),
            ("1-5", "1-9", "spec.schedule: "),
            ("Europe/Prague", "Europe/Nowhere", "spec.timeZone: "),
            ("maxDaysOpen: 13", "maxDaysOpen: 6", "spec.maxDaysOpen: 6 is less than spec.minDaysOpen, 7"),
        ] {
            fs::write(&file, text.replace(right, wrong)).expect("a file");
            let (said, output) = checked(&[&file]);
            assert_eq!(said, Ok(false), "{output}");
            assert!(output.contains(fault), "{fault}: {output}");
        }
        fs::write(&file, text.replace("subject", "sbject")).expect("a file");
        let (said, _) = checked(&[&file]);
        assert!(said.as_ref().is_err_and(|why| why.contains("subject is missing")), "{said:?}");
    }

    #[test]
    fn r18_a_definition_is_drawn_and_an_instance_marked_in_it() {
        let drawn = |format, instance| {
            let file = example("four-people/policy/issue-card.yaml");
            let mut out = Vec::new();
            draw(&Diagram { file, name: None, instance, format }, &mut out).expect("a picture");
            String::from_utf8(out).expect("text")
        };
        let picture = drawn(Format::Svg, None);
        assert!(picture.starts_with("<svg") && picture.contains("Check the applicant"), "{picture}");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("instance.yaml");
        let instance = "apiVersion: quorate.dev/v1alpha1\nkind: WorkflowInstance\nmetadata: {name: card}\nspec: {workflowRef: {name: issue-card}}\nstatus: {steps: [{node: check, visit: 1, enteredAt: 2026-04-01T08:00:00Z}]}\n";
        fs::write(&file, instance).expect("a file");
        let text = drawn(Format::Mermaid, Some(file));
        assert!(text.contains(":::current"), "{text}");
    }
}
