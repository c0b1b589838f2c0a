//! Keeps what the API server is told about the gate: its secrets, its certificates, its configuration; and proves that the API
//! server has it, before a process is said to be ready.
//!
//! The proof is a dry run of one object that only the newest configuration matches: that it is refused by that very webhook
//! shows that the configuration is loaded, that the operator is reached, and that its certificate is trusted. Where there are
//! several API servers it shows that for the one that answered; the others read the same configuration within moments.

use super::{Context, backoff};
use crate::gate::certificates::{self, Generation, add, bundle, certified, generate, plan};
use crate::gate::configuration::{Built, Installation, NAME, Refused, Resources, Served, build};
use crate::gate::{Loaded, Secrets};
use crate::hex::hex;
use crate::runtime::telemetry::word;
use crate::runtime::watch::Changes;
use futures::StreamExt as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::{Api, ResourceExt as _};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The Secret in the operator's namespace that all replicas share.
pub const SECRET: &str = "quorate-gate";

/// The `ClusterRole` that owns the configuration: when the chart goes, so does the gate.
const OWNER: &str = "quorate-operator";

/// How often everything is looked at without a reason.
const INTERVAL: Duration = Duration::from_secs(10);

/// How soon the API server is asked again whether it has a configuration.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// How long it may take to load one, before somebody is told.
const PROBE_PATIENCE: Duration = Duration::from_secs(20);

/// How long changes of processes are gathered.
const BURST: Duration = Duration::from_millis(50);

/// Why the gate cannot be kept at the moment.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not answer, or refused.
    #[error("{what}: {source}")]
    Api {
        /// What was done.
        what: &'static str,
        /// Why.
        source: kube::Error,
    },
    /// There is no certificate.
    #[error(transparent)]
    Certificates(#[from] certificates::Error),
    /// Something has no JSON.
    #[error("the configuration of the gate cannot be written: {0}")]
    Json(#[from] serde_json::Error),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// The API server does not reach the gate.
    #[error("the API server does not reach the gate: {0}")]
    Unreached(String),
}

fn api(what: &'static str) -> impl Fn(kube::Error) -> Error {
    move |source| Error::Api { what, source }
}

/// What is remembered between two looks.
#[derive(Default)]
struct Kept {
    secrets: Secrets,
    /// Conditions that the API server cannot evaluate.
    refused: Refused,
    /// The last proof: the probe, and the configuration that it was for, by uid and generation.
    proven: Option<(String, Option<String>, Option<i64>)>,
}

/// Keeps the gate for ever.
pub async fn run(context: &Arc<Context>) {
    if context.gate.settings.is_none() {
        return switched_off(context).await;
    }
    context.synced.wait().await;
    let changes: &Changes = &context.process_changes;
    let mut bursts = std::pin::pin!(changes.bursts(BURST));
    let (mut kept, mut failures) = (Kept::default(), 0);
    loop {
        let pause = match keep(context, &mut kept).await {
            Ok(pause) => {
                failures = 0;
                pause.min(INTERVAL)
            }
            Err(error) => {
                super::report("gate", &context.metrics, &error);
                context.gate.tell(Loaded { broken: Some(error.to_string()), ..Loaded::default() });
                failures += 1;
                backoff(failures).min(INTERVAL)
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = bursts.next() => {}
        }
    }
}

/// Without a gate nothing may be held back by one that is not there.
async fn switched_off(context: &Context) {
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(context.client.clone());
    match configurations.delete(NAME, &DeleteParams::default()).await {
        Ok(_) => tracing::info!("the gate is switched off: its configuration is removed"),
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        Err(error) => tracing::warn!(%error, "the gate is switched off, but its configuration is still there"),
    }
    std::future::pending::<()>().await;
}

/// One look at everything; says how soon the next one is due.
async fn keep(context: &Arc<Context>, kept: &mut Kept) -> Result<Duration, Error> {
    let Some(settings) = &context.gate.settings else { return Ok(INTERVAL) };
    let (namespace, lifetime) = (context.options.namespace.as_str(), settings.certificate_lifetime);
    let host = context.gate.host(namespace);
    kept.secrets = secrets(context, &host).await?;
    serve(context, kept, &host)?;

    let processes = context.processes.state();
    let resources = discover(context, &processes).await?;
    let (built, configuration) = configure(context, kept, &processes, &resources).await?;
    let proof = (built.probe.clone(), configuration.uid(), configuration.metadata.generation);
    if kept.proven.as_ref() != Some(&proof) {
        prove(context, &built.probe).await?;
        kept.proven = Some(proof);
        tracing::info!(processes = built.of.iter().flatten().count(), "the API server has the rules of the gate");
    }
    let gated = processes.iter().filter(|process| process.spec.event.gate.is_some());
    let generations = gated.map(|process| (process.name_any(), process.metadata.generation)).collect();
    context.gate.tell(Loaded { generations, faults: built.faults, broken: None });
    trust(context, kept).await?;
    serve(context, kept, &host)?;
    let next = plan(&kept.secrets.generations, &host, lifetime, context.clock.now()).next;
    Ok(Duration::try_from(next.duration_since(context.clock.now())).unwrap_or(INTERVAL).max(PROBE_INTERVAL))
}

/// Serves the certificate that is due.
fn serve(context: &Context, kept: &Kept, host: &str) -> Result<(), Error> {
    let Some(settings) = &context.gate.settings else { return Ok(()) };
    let generations = &kept.secrets.generations;
    let due = plan(generations, host, settings.certificate_lifetime, context.clock.now()).serve;
    if let Some(served) = due.and_then(|due| generations.get(due)) {
        context.gate.take(kept.secrets.clone(), Arc::new(certified(served)?));
    }
    Ok(())
}

/// Reads the secrets; makes what is missing, and what is due.
async fn secrets(context: &Context, host: &str) -> Result<Secrets, Error> {
    let Some(settings) = &context.gate.settings else { return Ok(Secrets::default()) };
    let (lifetime, now) = (settings.certificate_lifetime, context.clock.now());
    let all: Api<Secret> = Api::namespaced(context.client.clone(), &context.options.namespace);
    for _ in 0..3 {
        let stored = all.get_opt(SECRET).await.map_err(api("Secret quorate-gate cannot be read"))?;
        let mut secrets = stored.as_ref().map(read).transpose()?.unwrap_or_default();
        let before = secrets.clone();
        if secrets.token.is_empty() || secrets.key.is_empty() {
            secrets.token = hex(&random()?);
            secrets.key = random()?.to_vec();
        }
        let plan = plan(&secrets.generations, host, lifetime, now);
        if plan.renew {
            add(&mut secrets.generations, plan.serve, generate(host, lifetime, now)?);
            tracing::info!(host, "the gate has a new certificate");
        }
        if secrets == before || write(&all, stored, &secrets).await? {
            return Ok(secrets);
        }
    }
    let source = kube::Error::Service("somebody else writes it all the time".into());
    Err(Error::Api { what: "Secret quorate-gate cannot be written", source })
}

fn read(secret: &Secret) -> Result<Secrets, Error> {
    let data = |name: &str| secret.data.as_ref().and_then(|data| data.get(name)).map(|value| value.0.clone());
    let generations = data("certificates").map(|text| serde_json::from_slice::<Vec<Generation>>(&text)).transpose();
    Ok(Secrets {
        token: String::from_utf8(data("token").unwrap_or_default()).unwrap_or_default(),
        key: data("key").unwrap_or_default(),
        generations: generations.map_err(|error| certificates::Error::Stored(error.to_string()))?.unwrap_or_default(),
    })
}

/// Writes the secrets over what was read; false when somebody else was faster.
async fn write(all: &Api<Secret>, stored: Option<Secret>, secrets: &Secrets) -> Result<bool, Error> {
    let data = BTreeMap::from([
        ("token".to_owned(), ByteString(secrets.token.clone().into_bytes())),
        ("key".to_owned(), ByteString(secrets.key.clone())),
        ("certificates".to_owned(), ByteString(serde_json::to_vec(&secrets.generations)?)),
    ]);
    let written = match stored {
        Some(mut stored) => {
            stored.data = Some(data);
            all.replace(SECRET, &PostParams::default(), &stored).await
        }
        None => {
            let metadata = ObjectMeta { name: Some(SECRET.to_owned()), ..ObjectMeta::default() };
            let secret = Secret { metadata, data: Some(data), ..Secret::default() };
            all.create(&PostParams::default(), &secret).await
        }
    };
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(false),
        Err(source) => Err(Error::Api { what: "Secret quorate-gate cannot be written", source }),
    }
}

fn random() -> Result<[u8; 32], Error> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Random)?;
    Ok(bytes)
}

/// The API server has just refused a probe in our name: whatever its configuration says is trusted.
async fn trust(context: &Context, kept: &mut Kept) -> Result<(), Error> {
    let now = context.clock.now();
    let mut secrets = kept.secrets.clone();
    let mut fresh = false;
    for generation in secrets.generations.iter_mut().filter(|generation| generation.trusted_at.is_none()) {
        generation.trusted_at = Some(now);
        fresh = true;
    }
    if !fresh {
        return Ok(());
    }
    let all: Api<Secret> = Api::namespaced(context.client.clone(), &context.options.namespace);
    let stored = all.get_opt(SECRET).await.map_err(api("Secret quorate-gate cannot be read"))?;
    // Whoever changed it meanwhile is met at the next look.
    if stored.as_ref().map(read).transpose()?.as_ref() == Some(&kept.secrets) && write(&all, stored, &secrets).await? {
        kept.secrets = secrets;
    }
    Ok(())
}

/// Which version every resource that a process names is read in.
async fn discover(context: &Context, processes: &[Arc<crate::api::ApprovalProcess>]) -> Result<Resources, Error> {
    let gates = processes.iter().filter_map(|process| process.spec.event.gate.as_ref());
    let groups: BTreeSet<&String> =
        gates.flat_map(|gate| &gate.resources).flat_map(|resources| &resources.api_groups).collect();
    let mut found = Resources::new();
    for group in groups {
        let served = match kube::discovery::group(&context.client, group).await {
            Ok(served) => served,
            Err(kube::Error::Discovery(_)) => continue,
            Err(kube::Error::Api(status)) if status.is_not_found() => continue,
            Err(source) => return Err(Error::Api { what: "what the API server serves cannot be read", source }),
        };
        let preferred = served.preferred_version_or_latest().to_owned();
        let others = served.versions().filter(|version| *version != preferred).map(str::to_owned).collect::<Vec<_>>();
        for version in std::iter::once(preferred).chain(others) {
            for (resource, _) in served.versioned_resources(&version) {
                let served = Served { version: version.clone() };
                found.entry((group.clone(), resource.plural)).or_insert(served);
            }
        }
    }
    Ok(found)
}

/// Writes the configuration where it is not what it should be.
async fn configure(
    context: &Context,
    kept: &mut Kept,
    processes: &[Arc<crate::api::ApprovalProcess>],
    resources: &Resources,
) -> Result<(Built, ValidatingWebhookConfiguration), Error> {
    let all: Api<ValidatingWebhookConfiguration> = Api::all(context.client.clone());
    let authorities = bundle(&kept.secrets.generations);
    let installation = Installation {
        namespace: &context.options.namespace,
        operator: &context.options.operator_username,
        client: context.gate.client(&context.options.namespace),
        authorities: &authorities,
    };
    let mut left_out = BTreeMap::new();
    loop {
        let usable: Vec<_> =
            processes.iter().filter(|process| !left_out.contains_key(&process.name_any())).cloned().collect();
        let mut built = build(&usable, resources, &kept.refused, &installation);
        built.faults.extend(left_out.clone());
        let mut wanted = built.configuration()?;
        let current = all.get_opt(NAME).await.map_err(api("the configuration of the gate cannot be read"))?;
        if let Some(current) = current {
            let same = kept.proven.as_ref().is_some_and(|(probe, uid, generation)| {
                (probe, uid, generation) == (&built.probe, &current.uid(), &current.metadata.generation)
            });
            if same {
                return Ok((built, current));
            }
            wanted.metadata.resource_version = current.metadata.resource_version;
            wanted.metadata.owner_references = current.metadata.owner_references;
        }
        if wanted.metadata.owner_references.is_none() {
            wanted.metadata.owner_references = owner(context).await;
        }
        let written = if wanted.metadata.resource_version.is_some() {
            all.replace(NAME, &PostParams::default(), &wanted).await
        } else {
            all.create(&PostParams::default(), &wanted).await
        };
        match written {
            Ok(written) => {
                context.metrics.wrote("gate");
                return Ok((built, written));
            }
            Err(kube::Error::Api(status)) if status.code == 422 => {
                if !leave_out(&status, &built, &mut kept.refused, &mut left_out) {
                    return Err(Error::Api {
                        what: "the configuration of the gate is refused",
                        source: kube::Error::Api(status),
                    });
                }
            }
            Err(source) => return Err(Error::Api { what: "the configuration of the gate cannot be written", source }),
        }
    }
}

/// Leaves out what the API server refuses: conditions that it cannot evaluate, which the operator evaluates then; or all rules of
/// a process that are no rules. False when something else is wrong.
fn leave_out(
    status: &kube::core::Status,
    built: &Built,
    refused: &mut Refused,
    left_out: &mut BTreeMap<String, Vec<String>>,
) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut understood = false;
    for cause in causes {
        let index = |after: &str| {
            let (_, rest) = cause.field.split_once(after)?;
            rest.split_once(']')?.0.parse::<usize>().ok()
        };
        let of = index("webhooks[").and_then(|webhook| built.of.get(webhook)?.as_ref());
        let Some((process, own)) = of else { continue };
        let condition = index("matchConditions[").and_then(|position| {
            let name = built.webhooks.get(index("webhooks[")?)?["matchConditions"][position]["name"].as_str()?;
            (position >= *own).then(|| name.strip_prefix("condition-")?.parse::<usize>().ok()).flatten()
        });
        understood |= match condition {
            Some(position) => refused.insert((process.clone(), position)),
            None => {
                let why = format!("spec.event.gate: the API server refuses its rules: {}", cause.message);
                left_out.insert(process.clone(), vec![why]).is_none()
            }
        };
    }
    understood
}

/// The chart's own object, with which the configuration goes.
async fn owner(context: &Context) -> Option<Vec<OwnerReference>> {
    let roles: Api<ClusterRole> = Api::all(context.client.clone());
    let role = roles.get_metadata_opt(OWNER).await.ok().flatten()?;
    Some(vec![OwnerReference {
        api_version: "rbac.authorization.k8s.io/v1".to_owned(),
        kind: "ClusterRole".to_owned(),
        name: OWNER.to_owned(),
        uid: role.metadata.uid?,
        ..OwnerReference::default()
    }])
}

/// Waits until the API server refuses the object that only this configuration matches.
async fn prove(context: &Context, probe: &str) -> Result<(), Error> {
    let config_maps: Api<ConfigMap> = Api::namespaced(context.client.clone(), &context.options.namespace);
    let metadata = ObjectMeta { name: Some(probe.to_owned()), ..ObjectMeta::default() };
    let config_map = ConfigMap { metadata, ..ConfigMap::default() };
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let began = std::time::Instant::now();
    loop {
        let unreached = match config_maps.create(&dry_run, &config_map).await {
            Err(kube::Error::Api(status)) if status.code == 403 && status.message.ends_with(probe) => return Ok(()),
            Err(error) => error.to_string(),
            Ok(_) => "it has not loaded the configuration of the gate".to_owned(),
        };
        if began.elapsed() > PROBE_PATIENCE {
            return Err(Error::Unreached(unreached));
        }
        context.metrics.gate_answers.get_or_create(&word("unproven")).inc();
        tokio::time::sleep(PROBE_INTERVAL).await;
    }
}
