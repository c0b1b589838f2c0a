//! Asks the API server's authorizer what the senders of signals may do, where a decision depends on it.

use super::Error;
use crate::api::{Actor, Decision, WorkflowInstance};
use crate::controllers::{Context, access};
use crate::engine::graph::Graph;
use crate::engine::{Right, Signal};
use futures::StreamExt;
use futures::stream;
use k8s_openapi::api::authorization::v1::ResourceAttributes;
use kube::ResourceExt;
use std::collections::BTreeSet;

/// How many questions are asked at the same time.
const AT_ONCE: usize = 16;

/// Finds out the rights of every sender, as far as their decisions depend on them.
pub async fn ask(
    signals: &mut [Signal],
    instance: &WorkflowInstance,
    graph: Option<&Graph>,
    context: &Context,
) -> Result<(), Error> {
    let verbs: Vec<Right> = graph.map(Graph::permissions).unwrap_or_default().iter().map(process).collect();
    let questions = signals.iter().flat_map(|signal| {
        let wanted = match signal.spec.decision {
            Decision::Approve | Decision::Reject | Decision::Delegate => verbs.clone(),
            Decision::Comment => [verbs.as_slice(), &[Right::Administer]].concat(),
            Decision::Cancel => vec![Right::Cancel],
            Decision::Reassign | Decision::AddApprovers | Decision::Stop | Decision::Retry | Decision::Restart => {
                vec![Right::Administer]
            }
        };
        let actor = signal.spec.actor.clone();
        wanted.into_iter().filter_map(move |right| Some((actor.clone()?, right)))
    });
    let questions: Vec<(Actor, Right)> = questions.collect();
    let mut jobs = Vec::with_capacity(questions.len());
    for (actor, right) in &questions {
        jobs.push(allowed(actor, right, instance, context));
    }
    let answers: Vec<Result<bool, Error>> = stream::iter(jobs).buffered(AT_ONCE).collect().await;
    let mut held: Vec<(&Actor, &Right)> = Vec::new();
    for ((actor, right), answer) in questions.iter().zip(answers) {
        if answer? {
            held.push((actor, right));
        }
    }
    for signal in signals {
        let own = held.iter().filter(|(actor, _)| Some(*actor) == signal.spec.actor.as_ref());
        signal.rights = own.map(|(_, right)| (*right).clone()).collect::<BTreeSet<_>>();
    }
    Ok(())
}

fn process(verb: &&str) -> Right {
    Right::Process((*verb).to_owned())
}

async fn allowed(actor: &Actor, right: &Right, instance: &WorkflowInstance, context: &Context) -> Result<bool, Error> {
    let of_instance = |verb: &str| ResourceAttributes {
        group: Some("quorate.dev".to_owned()),
        resource: Some("workflowinstances".to_owned()),
        namespace: instance.namespace(),
        name: Some(instance.name_any()),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    };
    let attributes = match right {
        Right::Cancel => of_instance("cancel"),
        Right::Administer => of_instance("administer"),
        Right::Process(verb) => {
            let Some(process) = &instance.spec.process_ref else {
                return Ok(false);
            };
            access::on_process(&process.name, verb)
        }
    };
    let allowed = access::allowed(&context.client, actor, attributes).await;
    allowed.map_err(|source| Error::Api { name: instance.name_any(), source })
}
