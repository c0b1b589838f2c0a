//! The open tasks of all instances: what mails on a schedule list.

use super::facts::{Error, Standing};
use crate::controllers::{Context, evaluate};
use crate::notify::{OpenTask, open_tasks};
use kube::ResourceExt;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How many instances are looked at together: others get their turn in between, and expressions their limit of time.
const TOGETHER: usize = 50;

/// The open tasks of the installation.
#[derive(Default)]
pub struct Open {
    /// Each once, with who may decide it now.
    pub tasks: Vec<OpenTask>,
    /// The uids of instances of which it cannot be told: they cannot be read or take too long, which is logged, or have no snapshot,
    /// which they say themselves. The others must not wait for them.
    pub passed_over: BTreeSet<String>,
}

/// Looks at every instance.
///
/// # Errors
/// When the API server does not answer: what would be left out would seem decided.
pub async fn all_open_tasks(context: &Arc<Context>) -> Result<Open, Error> {
    let mut open = Open::default();
    for part in context.live.state().chunks(TOGETHER) {
        let mut standing = Vec::new();
        for live in part {
            let known = match live.parse() {
                Ok(parsed) => Standing::of(Arc::new(parsed), context).await?,
                Err(error) => {
                    let (namespace, instance) = (live.namespace().unwrap_or_default(), live.name_any());
                    tracing::warn!(namespace, instance, %error, "an instance cannot be read and is in no digest and no reminder");
                    None
                }
            };
            match known {
                Some(known) => standing.push(known),
                None => open.passed_over.extend(live.uid()),
            }
        }
        let standing = Arc::new(standing);
        let (shared, instances) = (context.clone(), standing.clone());
        let together = move || -> Vec<OpenTask> {
            instances.iter().flat_map(|one| open_tasks(&one.facts(&shared.options.settings))).collect()
        };
        match evaluate(together).await {
            Ok(tasks) => open.tasks.extend(tasks),
            // One of them takes too long: then each by itself.
            Err(_) => one_by_one(&mut open, &standing, context).await,
        }
    }
    Ok(open)
}

async fn one_by_one(open: &mut Open, standing: &Arc<Vec<Standing>>, context: &Arc<Context>) {
    for position in 0..standing.len() {
        let (instances, shared) = (standing.clone(), context.clone());
        match evaluate(move || open_tasks(&instances[position].facts(&shared.options.settings))).await {
            Ok(tasks) => open.tasks.extend(tasks),
            Err(why) => {
                let instance = &standing[position].parsed.instance;
                let (namespace, name) = (instance.namespace().unwrap_or_default(), instance.name_any());
                tracing::warn!(namespace, instance = name, why, "an instance is in no digest and no reminder");
                open.passed_over.extend(instance.uid());
            }
        }
    }
}
