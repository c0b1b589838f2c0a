//! `quorate why`: asks a cluster why an instance has not moved, for one person. Reads with the rights of whoever calls it; the
//! answer is [`crate::engine::explain()`]'s.

use crate::api::{
    Actor, ApprovalSignal, BusinessCalendar, BusinessRole, Delegation, Identity, NamedApprovers, WorkflowInstance,
    is_true, seconds,
};
use crate::controllers::directory::assemble;
use crate::controllers::revisions::Revisions;
use crate::directory::Snapshot;
use crate::engine::source::Source;
use crate::engine::{Definition, Facts, Instance, Object, Proof, Settings, Signal, explain};
use crate::runtime::client::{connect, who_am_i};
use jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;

/// The arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The `WorkflowInstance`.
    pub instance: String,
    /// Its namespace.
    #[arg(long, short, default_value = "default")]
    pub namespace: String,
    /// For whom, by username. Default: yourself.
    #[arg(long)]
    pub user: Option<String>,
    /// The groups of that person, which Kubernetes cannot tell.
    #[arg(long, value_delimiter = ',')]
    pub groups: Vec<String>,
    /// The namespace of the operator.
    #[arg(long, default_value = "quorate-system")]
    pub operator_namespace: String,
    /// Who stands in when too few others may decide, as the operator has it: a list of approver sources, as JSON.
    #[arg(long, default_value = "[]")]
    pub administrators: String,
}

/// Explains an instance to a person.
///
/// # Errors
/// When something cannot be read.
pub async fn run(arguments: &Arguments) -> Result<String, Box<dyn Error>> {
    let client = connect().await?;
    let instances: Api<WorkflowInstance> = Api::namespaced(client.clone(), &arguments.namespace);
    let instance = instances.get(&arguments.instance).await?;
    let status = instance.status.clone().unwrap_or_default();
    let person = match &arguments.user {
        Some(username) => Actor { username: username.clone(), uid: String::new(), groups: arguments.groups.clone() },
        None => who_am_i(&client).await?,
    };
    let revisions = Revisions::new(client.clone(), &arguments.operator_namespace);
    let revision = status.revision.clone().unwrap_or_default();
    let found = if revision.is_empty() { None } else { revisions.load(&revision).await? };
    let definition = match found.as_ref().map(|found| &found.graph) {
        Some(Ok(graph)) => Definition::Usable { graph, revision: &revision },
        Some(Err(faults)) => Definition::Faulty { name: &revision, faults },
        None => Definition::Missing("it has not started".to_owned()),
    };
    let directory = Arc::new(directory(&client).await?);
    let administrators: Vec<NamedApprovers> = serde_json::from_str(&arguments.administrators)?;
    let settings = Settings {
        administrators: administrators.iter().filter_map(Source::named).collect(),
        max_signal_age: i64::MAX,
    };
    let recorded = recorded(&client, &arguments.namespace, &arguments.instance).await?;
    let (name, uid) = (instance.name_any(), instance.uid().unwrap_or_default());
    let explanation = explain(
        &Facts {
            instance: Instance {
                namespace: &arguments.namespace,
                name: &name,
                uid: &uid,
                generation: instance.metadata.generation,
                created_at: instance.metadata.creation_timestamp.as_ref().map_or(i64::MIN, seconds),
                spec: &instance.spec,
            },
            status: &status,
            definition,
            newest: None,
            signals: &[],
            recorded: &recorded,
            seen_until: i64::MIN,
            directory: &directory,
            settings: &settings,
            proof: &Proof::Since(i64::MIN),
            object: Object::None,
            performed: None,
            now: Timestamp::now(),
        },
        &person,
        &BTreeSet::new(),
    );
    Ok(explanation.to_string())
}

async fn directory(client: &Client) -> Result<Snapshot, kube::Error> {
    let identities: Vec<Identity> = all(client).await?;
    let roles: Vec<BusinessRole> = all(client).await?;
    let delegations: Vec<Delegation> = all(client).await?;
    let calendars: Vec<BusinessCalendar> = all(client).await?;
    Ok(assemble(&identities, &roles, &delegations, &calendars))
}

async fn all<K>(client: &Client) -> Result<Vec<K>, kube::Error>
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    Ok(Api::<K>::all(client.clone()).list(&ListParams::default()).await?.items)
}

/// The signals that counted.
async fn recorded(client: &Client, namespace: &str, instance: &str) -> Result<Vec<Signal>, kube::Error> {
    let api: Api<ApprovalSignal> = Api::namespaced(client.clone(), namespace);
    let signals = api.list(&ListParams::default().fields(&format!("spec.instance={instance}"))).await?;
    let counted = signals
        .items
        .into_iter()
        .filter(|signal| signal.status.as_ref().is_some_and(|status| is_true(&status.conditions, "Accepted")));
    Ok(counted.map(|signal| crate::controllers::instances::fact(&signal)).collect())
}
