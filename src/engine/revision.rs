//! The snapshot of a definition that an instance runs on: named by its content, so that whoever reads it can check it.

use super::graph::{Fault, Graph, compile};
use crate::api::{ApprovalProcessSpec, WorkflowDefinitionSpec};
use crate::hex::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Its content is not what its name says.
    #[error("ControllerRevision {name} was tampered with: its content hashes to {found}; restore it from a backup")]
    Tampered {
        /// The name.
        name: String,
        /// The name that its content would have.
        found: String,
    },
    /// Its content cannot be read.
    #[error("ControllerRevision {name} cannot be read: {source}")]
    Unreadable {
        /// The name.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// What a snapshot holds: the graph, and the process whose outcome is written back.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Content {
    /// What the workflow is called: the name of its definition; empty for a workflow of an instance's own.
    pub workflow_name: String,
    /// The definition.
    pub workflow: WorkflowDefinitionSpec,
    /// The process that opened the instance, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<(String, ApprovalProcessSpec)>,
}

impl Content {
    /// The graph. A workflow of an instance's own may say less than a definition.
    ///
    /// # Errors
    /// Every fault that can be found without a directory, each with its place.
    pub fn compile(&self) -> Result<Graph, Vec<Fault>> {
        let graph = compile(&self.workflow)?;
        let own = self.workflow_name.is_empty();
        let faults = if own { graph.tells_the_world() } else { Vec::new() };
        if faults.is_empty() { Ok(graph) } else { Err(faults) }
    }

    /// Whether anybody is told anything about what runs on this.
    #[must_use]
    pub fn tells(&self, graph: &Graph) -> bool {
        graph.tells() || self.process.as_ref().is_some_and(|(_, process)| !process.notifications.is_empty())
    }

    /// The text that is stored and hashed: JSON with sorted keys.
    ///
    /// # Errors
    /// When a value cannot be written as JSON.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        // A Value sorts its keys; a struct would follow the order of its fields in this version of the code.
        serde_json::to_string(&serde_json::to_value(self)?)
    }

    /// The name that follows from the content.
    ///
    /// # Errors
    /// When a value cannot be written as JSON.
    pub fn name(&self) -> Result<String, serde_json::Error> {
        Ok(name_of(&self.text()?))
    }

    /// Reads a snapshot and checks that its content is what its name says.
    ///
    /// # Errors
    /// [`Unusable`] when it is not, or when it cannot be read.
    pub fn read(name: &str, data: &serde_json::Value) -> Result<Self, Unusable> {
        let found = name_of(&data.to_string());
        if found != name {
            return Err(Unusable::Tampered { name: name.to_owned(), found });
        }
        serde_json::from_value(data.clone()).map_err(|source| Unusable::Unreadable { name: name.to_owned(), source })
    }
}

fn name_of(text: &str) -> String {
    format!("workflow-{}", hex(&Sha256::digest(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::Content;
    use serde_json::{from_value, json};

    #[test]
    fn attack_39_a_workflow_of_an_instances_own_tells_nobody_outside() {
        let workflow = from_value(json!({
            "notifications": [{"on": "assigned", "to": [{"user": "mary"}, {"address": "all@example.com"}, {"channel": "audit"}]}],
            "nodes": [{"name": "check", "approval": {"approvers": [{"group": "all", "mail": "all@example.com"}]}}],
        }));
        let mut content =
            Content { workflow_name: String::new(), workflow: workflow.expect("a workflow"), process: None };
        let faults = content.compile().expect_err("refused");
        let places: Vec<&str> = faults.iter().map(|fault| fault.place.as_str()).collect();
        assert_eq!(
            places,
            [
                "spec.notifications[0].to[1].address",
                "spec.notifications[0].to[2].channel",
                "spec.nodes[check].approval.approvers[0].mail"
            ]
        );
        content.workflow_name = "release".to_owned();
        assert!(content.compile().is_ok(), "a definition may");
    }
}
