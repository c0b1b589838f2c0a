//! Who plays in the story, and under which names its objects go.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::cluster::root;

/// Somebody, with their groups.
pub struct Person {
    /// The username.
    pub name: &'static str,
    /// The groups, beside `system:authenticated`.
    pub groups: &'static [&'static str],
}

/// The group whose members decide: the Enrollment Approvers.
pub const APPROVERS: &str = "enrollment-approvers";
/// Martha's group.
pub const STAFF: &str = "staff";

pub const ANNE: Person = Person { name: "anne", groups: &[APPROVERS] };
pub const CHARLES: Person = Person { name: "charles", groups: &[APPROVERS] };
pub const JOHN: Person = Person { name: "john", groups: &[APPROVERS] };
pub const MARY: Person = Person { name: "mary", groups: &[APPROVERS] };
pub const SAM: Person = Person { name: "sam", groups: &[APPROVERS] };
/// Who asks.
pub const MARTHA: Person = Person { name: "martha", groups: &[STAFF] };
/// A colleague who decides nothing.
pub const CAROL: Person = Person { name: "carol", groups: &[STAFF] };
/// The platform team: may do everything, but not decide.
pub const ADMIN: Person = Person { name: "admin", groups: &["system:masters"] };

/// The WorkflowDefinition of the example.
pub const WORKFLOW: &str = "two-enrollment-approvers";
/// The ApprovalProcess of the example.
pub const PROCESS: &str = "client-certificates";
/// The ClusterRole of the example, and its binding.
pub const REQUESTER: &str = "certificate-requester";

/// The request that is approved.
pub const LAPTOP: &str = "martha-laptop";
/// The request that is rejected.
pub const PHONE: &str = "martha-phone";
/// The request that nobody who counts decides.
pub const TABLET: &str = "martha-tablet";
/// The request in somebody else's name.
pub const FORGERY: &str = "martha-as-mary";
/// All of Martha's requests.
pub const REQUESTS: [&str; 4] = [LAPTOP, PHONE, TABLET, FORGERY];

/// Where the definition, the process and Martha's rights are written down, below the checkout.
pub const EXAMPLE: &str = "examples/certificate-two-of-five";

/// What the objects of this run are called.
pub struct Names {
    suffix: String,
}

impl Names {
    /// The plain names: nobody else is on the cluster.
    pub fn plain() -> Self {
        Self { suffix: String::new() }
    }

    /// Names that nobody else has.
    pub fn unique() -> Self {
        // The standard library's source of randomness: each RandomState has a new key.
        let random = RandomState::new().build_hasher().finish();
        Self { suffix: format!("-{:05x}", random & 0xf_ffff) }
    }

    /// What tells this run from others; empty for plain names.
    pub fn mark(&self) -> &str {
        self.suffix.trim_start_matches('-')
    }

    /// What the object of that name is called in this run.
    pub fn of(&self, name: &str) -> String {
        format!("{name}{}", self.suffix)
    }

    /// The example under these names, as one list. It keeps to the requests of this run, and goes before whatever else the
    /// cluster has for certificates.
    pub fn example(&self) -> Result<Value> {
        let folder = root().join(EXAMPLE);
        let mut files: Vec<_> = std::fs::read_dir(&folder)
            .with_context(|| format!("cannot read {}", folder.display()))?
            .map(|file| file.map(|file| file.path()))
            .collect::<Result<_, _>>()?;
        files.sort();
        let mut items: Vec<Value> = Vec::new();
        for file in files {
            let text = std::fs::read_to_string(&file)?;
            let documents: Vec<Value> =
                serde_saphyr::from_multiple(&text).with_context(|| format!("cannot read {}", file.display()))?;
            items.extend(documents);
        }
        for item in &mut items {
            for reference in ["/metadata/name", "/roleRef/name", "/spec/workflowRef/name"] {
                if let Some(Value::String(name)) = item.pointer_mut(reference) {
                    name.push_str(&self.suffix);
                }
            }
            if item["kind"] == "ApprovalProcess" {
                item["spec"]["order"] = json!(-1_000_000);
                let mine = format!("object.metadata.name.endsWith('{}')", self.suffix);
                let conditions = item.pointer_mut("/spec/event/pending/matchConditions").and_then(Value::as_array_mut);
                conditions
                    .context("the ApprovalProcess of the example has no matchConditions")?
                    .insert(0, json!({ "name": "this-demo", "expression": mine }));
            }
        }
        Ok(json!({ "apiVersion": "v1", "kind": "List", "items": items }))
    }
}
