//! Reads a scenario, and the manifests that it names: a repository tests the very files that it applies. Pure: the files
//! are asked of the caller.

use super::document::{Document, Lines, documents, unreadable};
use super::format::{DefinitionFile, DefinitionLine, Scenario};
use super::schema::strict;
use super::{Finding, Kind};
use crate::api::{BusinessCalendarSpec, BusinessRoleSpec, IdentitySpec, WorkflowDefinitionSpec};
use serde_json::Value;

/// A file that a scenario names.
#[derive(Clone, Debug)]
pub struct NamedFile {
    /// What to call it in messages.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// Reads a scenario. `files` gives the file of that name, relative to the scenario, or every file of the folder of that name;
/// its error says which file it cannot read and why.
///
/// # Errors
/// What is wrong with the scenario or with a file that it names.
pub fn read(text: &str, files: impl Fn(&str) -> Result<Vec<NamedFile>, String>) -> Result<Scenario, Vec<Finding>> {
    let documents = documents(text).map_err(|finding| vec![finding])?;
    let lines = documents.into_iter().next().map(|document| document.lines).unwrap_or_default();
    let mut scenario: Scenario = serde_saphyr::from_str(text).map_err(|error| vec![unreadable(&error, &lines)])?;
    let mut findings = Vec::new();
    name_files(&mut scenario, &files, &mut findings);
    for finding in findings.iter_mut().filter(|finding| finding.file.is_none()) {
        finding.line = lines.of(&finding.place);
    }
    scenario.lines = lines;
    if findings.is_empty() { Ok(scenario) } else { Err(findings) }
}

/// Whether a text is one of Kubernetes manifests, and so no scenario.
#[must_use]
pub fn is_manifest(text: &str) -> bool {
    documents(text).is_ok_and(|documents| documents.iter().any(|document| document.value.get("apiVersion").is_some()))
}

/// The `WorkflowDefinitions` of a file, by name; other kinds are skipped.
///
/// # Errors
/// What cannot be read, with its file, line and place.
pub fn definitions(file: &NamedFile) -> Result<Vec<(String, WorkflowDefinitionSpec)>, Finding> {
    specs(file, "WorkflowDefinition")
}

/// The specs of the objects of a kind in a file, by name, read as strictly as the API server does; other kinds are skipped.
///
/// # Errors
/// What cannot be read, with its file, line and place.
pub fn specs<T: serde::de::DeserializeOwned>(file: &NamedFile, kind: &str) -> Result<Vec<(String, T)>, Finding> {
    let found = objects(file)?.into_iter().filter(|object| object.kind == kind);
    found.map(|object| Ok((object.name.clone(), object.read(kind)?))).collect()
}

/// Puts what the named files say in the place of their names.
fn name_files(
    scenario: &mut Scenario,
    files: &impl Fn(&str) -> Result<Vec<NamedFile>, String>,
    findings: &mut Vec<Finding>,
) {
    let open = |place: &str, file: &str| -> Result<Vec<Object>, Finding> {
        let files = files(file).map_err(|why| Finding::malformed(place, why))?;
        let objects: Vec<_> = files.iter().map(objects).collect::<Result<_, _>>()?;
        Ok(objects.into_iter().flatten().collect())
    };
    let steps = scenario.timeline.iter_mut().enumerate();
    let edited = steps.map(|(number, step)| (format!("timeline[{number}].definition"), step.definition.as_mut()));
    let definitions = std::iter::once(("definition".to_owned(), scenario.definition.as_mut())).chain(edited);
    for (place, definition) in definitions {
        let Some(definition) = definition else { continue };
        if let DefinitionLine::File(named) = definition {
            match open(&place, &named.file).and_then(|objects| the_definition(&place, named, objects)) {
                Ok(read) => *definition = read,
                Err(finding) => findings.push(finding),
            }
        }
    }
    for (number, file) in scenario.directory.files.clone().iter().enumerate() {
        let place = format!("directory.files[{number}]");
        match open(&place, file) {
            Ok(objects) => take_directory(scenario, &place, file, objects, findings),
            Err(finding) => findings.push(finding),
        }
    }
}

fn the_definition(place: &str, named: &DefinitionFile, objects: Vec<Object>) -> Result<DefinitionLine, Finding> {
    let DefinitionFile { file, name } = named;
    let wrong = |message: String| Err(Finding::malformed(place, message));
    let mut found: Vec<Object> = objects
        .into_iter()
        .filter(|object| object.kind == "WorkflowDefinition" || (object.kind.is_empty() && name.is_none()))
        .collect();
    let known: Vec<String> = found.iter().map(|object| object.name.clone()).collect();
    if let Some(name) = name {
        found.retain(|object| object.name == *name);
        if found.is_empty() {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return wrong(format!("{file} has no WorkflowDefinition {name}; it has {known}"));
        }
    }
    match <[Object; 1]>::try_from(found) {
        Ok([object]) => {
            object.read::<WorkflowDefinitionSpec>("WorkflowDefinition")?;
            Ok(DefinitionLine::Inline { name: object.name, spec: object.spec })
        }
        Err(none) if none.is_empty() => wrong(format!("{file} has no WorkflowDefinition")),
        Err(_) => wrong(format!("{file} has the WorkflowDefinitions {}; choose one by name", known.join(", "))),
    }
}

fn take_directory(scenario: &mut Scenario, place: &str, file: &str, objects: Vec<Object>, findings: &mut Vec<Finding>) {
    let mut any = false;
    for object in objects {
        let (read, known) = match object.kind.as_str() {
            "Identity" => (object.read::<IdentitySpec>("Identity").map(|_| ()), &mut scenario.identities),
            "BusinessRole" => (object.read::<BusinessRoleSpec>("BusinessRole").map(|_| ()), &mut scenario.roles),
            "BusinessCalendar" => {
                (object.read::<BusinessCalendarSpec>("BusinessCalendar").map(|_| ()), &mut scenario.calendars)
            }
            _ => continue,
        };
        any = true;
        findings.extend(read.err());
        let finding = format!("there is another {} {}; each may be given once", object.kind, object.name);
        let finding = object.finding(&object.place, finding);
        if known.insert(object.name, object.spec).is_some() {
            findings.push(finding);
        }
    }
    if !any {
        findings.push(Finding::malformed(place, format!("{file} has no Identity and no BusinessRole")));
    }
}

/// An object of a manifest, or a bare spec, which has no kind.
struct Object {
    kind: String,
    name: String,
    spec: Value,
    file: String,
    /// Where the spec stands in the file.
    place: String,
    /// Its line, and of everything in it.
    lines: Lines,
}

impl Object {
    fn read<T: serde::de::DeserializeOwned>(&self, kind: &str) -> Result<T, Finding> {
        strict(kind, &self.place, &self.spec).map_err(|finding| self.finding(&finding.place, finding.message))
    }

    fn finding(&self, place: &str, message: String) -> Finding {
        let line = self.lines.of(place);
        Finding { kind: Kind::Malformed, file: Some(self.file.clone()), line, place: place.to_owned(), message }
    }
}

/// The objects of Quorate in a file, and its bare specs; other kinds are skipped.
fn objects(file: &NamedFile) -> Result<Vec<Object>, Finding> {
    let in_file = |finding: Finding| Finding { file: Some(file.name.clone()), ..finding };
    let mut found = Vec::new();
    for Document { value, lines } in documents(&file.text).map_err(in_file)? {
        let kind = value["kind"].as_str().unwrap_or_default();
        match value["items"].as_array().filter(|_| kind.ends_with("List") || kind == "List") {
            Some(items) => {
                let items = items.iter().enumerate();
                found.extend(items.filter_map(|(number, item)| {
                    object(item, &format!("items[{number}].spec"), lines.clone(), &file.name)
                }));
            }
            None => found.extend(object(&value, "spec", lines, &file.name)),
        }
    }
    Ok(found)
}

fn object(value: &Value, place: &str, lines: Lines, file: &str) -> Option<Object> {
    let file = file.to_owned();
    let Some(version) = value.get("apiVersion") else {
        let name = "definition".to_owned();
        return Some(Object { kind: String::new(), name, spec: value.clone(), file, place: String::new(), lines });
    };
    if version != "quorate.dev/v1alpha1" {
        return None;
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, name) = (text(&value["kind"]), text(&value["metadata"]["name"]));
    Some(Object { kind, name, spec: value["spec"].clone(), file, place: place.to_owned(), lines })
}
