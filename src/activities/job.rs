//! Starts a Job under a name that follows from its activity, looks at it, and ends it when its time is over.

use super::kubernetes::answered;
use super::{Activities, Answer};
use crate::engine::activity::{self, Activity, Came, Target};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Error, ResourceExt};
use serde_json::Value;

impl Activities {
    pub(super) async fn job(
        &self,
        activity: &Activity,
        namespace: &str,
        spec: &Value,
        instance: (&str, &str),
    ) -> Answer {
        let name = activity.job.clone().unwrap_or_else(|| activity::job_name(activity));
        let target = Target {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
            namespace: Some(namespace.to_owned()),
            name: name.clone(),
        };
        let api: Api<Job> = Api::namespaced(self.client.clone(), namespace);
        let found = match api.get_opt(&name).await {
            Ok(found) => found,
            Err(error) => return answered(&error, &target, "get, create, delete"),
        };
        let job = match found {
            Some(job) if job.labels().get("quorate.dev/activity") != Some(&activity.id) => {
                return (Came::Failed, format!("there is another Job {namespace}/{name}"));
            }
            Some(job) => job,
            None if activity.job.is_some() => {
                let message = format!("Job {namespace}/{name} is gone, and nobody knows how it ended");
                return (Came::Failed, message);
            }
            None => {
                let job: Job = match serde_json::from_value(activity::job(activity, spec, instance)) {
                    Ok(job) => job,
                    Err(error) => return (Came::Failed, format!("job.spec is no spec of a Job: {error}")),
                };
                return match api.create(&PostParams::default(), &job).await {
                    Ok(_) => (Came::Runs(name.clone()), format!("Job {namespace}/{name} runs")),
                    // An earlier try made it, and was not answered.
                    Err(Error::Api(status)) if status.is_already_exists() => {
                        (Came::Again, format!("Job {namespace}/{name} was made meanwhile"))
                    }
                    Err(error) => answered(&error, &target, "get, create, delete"),
                };
            }
        };
        match ended(&job) {
            Some((true, _)) => (Came::Done, format!("Job {namespace}/{name} is complete")),
            Some((false, why)) => (Came::Failed, format!("Job {namespace}/{name} failed: {why}")),
            None if activity.over => match api.delete(&name, &DeleteParams::background()).await {
                Ok(_) => (Came::TimedOut, format!("Job {namespace}/{name} was ended")),
                Err(Error::Api(status)) if status.is_not_found() => (Came::TimedOut, status.message.clone()),
                Err(error) => {
                    let (came, message) = answered(&error, &target, "get, create, delete");
                    // It is over, whether the Job could be ended or not.
                    let came = if came == Came::Failed { Came::TimedOut } else { came };
                    (came, format!("Job {namespace}/{name} could not be ended: {message}"))
                }
            },
            None => (Came::Runs(name.clone()), format!("Job {namespace}/{name} runs")),
        }
    }
}

/// Whether a Job has ended well, and what it says of that.
fn ended(job: &Job) -> Option<(bool, String)> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let holds = |type_: &str| conditions.iter().find(|found| found.type_ == type_ && found.status == "True");
    let says = |found: &k8s_openapi::api::batch::v1::JobCondition| {
        found.message.clone().or_else(|| found.reason.clone()).unwrap_or_default()
    };
    holds("Complete").map(|found| (true, says(found))).or_else(|| holds("Failed").map(|found| (false, says(found))))
}
