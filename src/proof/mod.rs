//! The lock is tested, not assumed: decisions count only while the API server provably proves who sends what.
//!
//! Two things together are the proof. The *record*: uid and generation of the CRDs, admission policies and bindings that stamp
//! and check the actor; while it stays the same, nobody removed, edited or replaced one. The *trial*: by server-side dry runs,
//! an honest signal and an honest instance pass, and the same with one forged field are refused by that very policy; and what
//! the cluster has is the text that is shipped (the operator is exempt from a part of it, which a dry run cannot show).
//!
//! The streak of an unbroken record begins after the second of its first successful trial, and survives restarts in a
//! `ConfigMap`: signals that were made while the operator was down count, if the record is still the same. What was created
//! before the streak never counts, and says so.
//!
//! Before signals are judged the record is read again ([`Prover::confirm`]), from the API server and not from a watch: it must
//! have been the same after they were made.

mod shipped;
mod trial;

use crate::engine;
use crate::runtime::clock::Clock;
use crate::runtime::telemetry::{Metrics, Readiness};
use crate::runtime::watch::Changes;
use futures::future::try_join_all;
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ObjectMeta, PartialObjectMeta, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shipped::Shipped;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The `ConfigMap` in the operator's namespace that remembers the streak.
const CONFIG_MAP: &str = "quorate-actor-proof";

/// What carries the name of its sender.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stamped {
    /// `ApprovalSignals`: their actor.
    Signals = 0,
    /// `WorkflowInstances`: their initiator.
    Instances = 1,
    /// Delegations: their principal.
    Delegations = 2,
    /// `ChangeRequests`: their requester.
    Changes = 3,
}

/// How many kinds carry the name of their sender.
const KINDS: usize = 4;

/// The name of an admission policy and of its binding, and of the kind whose schema helps it.
struct Guard(&'static str, Option<&'static str>);

/// Everything that the proof rests on: what proves who sends what, and what keeps the record of decisions from being written
/// over or deleted. Read at every trial; before something is judged, only what proves its sender.
const GUARDS: [Guard; 6] = [
    Guard("quorate-signal-actor", Some("approvalsignals.quorate.dev")),
    Guard("quorate-instance-initiator", Some("workflowinstances.quorate.dev")),
    Guard("quorate-delegation-principal", Some("delegations.quorate.dev")),
    Guard("quorate-change-requester", Some("changerequests.quorate.dev")),
    Guard("quorate-status", None),
    Guard("quorate-evidence", None),
];

/// How often the trial is repeated.
const TRIAL_INTERVAL: Duration = Duration::from_secs(10);

/// How soon a failed trial is repeated: a new policy takes the API server some seconds to put in force.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Why the proof cannot be told at the moment: the API server did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request failed.
    #[error("the actor proof cannot be checked: {0}")]
    Api(#[from] kube::Error),
    /// The shipped policies cannot be read: a fault of this build.
    #[error("the shipped admission policies cannot be read: {0}")]
    Shipped(String),
}

/// Uid and generation of everything that the proof rests on, by kind and name.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Record(BTreeMap<String, String>);

/// A streak: the record, and the second after which it has held.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Streak {
    record: Record,
    since: i64,
}

#[derive(Debug, Default)]
struct State {
    streak: Option<Streak>,
    /// Why decisions wait; none while the proof holds.
    broken: Option<String>,
    /// When the last successful reading began of what proves each of [`Stamped`].
    read_at: [Option<Instant>; KINDS],
}

/// Keeps the proof.
pub struct Prover {
    client: Client,
    namespace: String,
    shipped: Vec<Shipped>,
    clock: Arc<Clock>,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    /// Told when the proof comes or goes.
    pub changes: Changes,
    state: Mutex<State>,
    reading: [tokio::sync::Mutex<()>; KINDS],
    again: tokio::sync::Notify,
}

impl Prover {
    /// A prover for an operator of that username, whose namespace is `namespace`.
    ///
    /// # Errors
    /// When the shipped policies cannot be read.
    pub fn new(
        client: Client,
        namespace: &str,
        operator: &str,
        clock: Arc<Clock>,
        metrics: Arc<Metrics>,
        readiness: Arc<Readiness>,
    ) -> Result<Self, Error> {
        Ok(Self {
            client,
            namespace: namespace.to_owned(),
            shipped: shipped::all(operator).map_err(Error::Shipped)?,
            clock,
            metrics,
            readiness,
            changes: Changes::default(),
            state: Mutex::default(),
            reading: Default::default(),
            again: tokio::sync::Notify::new(),
        })
    }

    /// Tries the lock again and again, for ever.
    pub async fn run(&self) {
        loop {
            let outcome = self.try_lock().await;
            let pause = match outcome {
                Ok(true) => TRIAL_INTERVAL,
                Ok(false) => RETRY_INTERVAL,
                Err(error) => {
                    tracing::warn!(%error, "trying again");
                    RETRY_INTERVAL
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.again.notified() => {}
            }
        }
    }

    /// The proof for objects of a kind, checked after `seen`: whatever was created before `seen` was created under the record
    /// that it tells of.
    ///
    /// # Errors
    /// When the API server does not answer: nothing may be judged then.
    pub async fn confirm(&self, stamped: Stamped, seen: Instant) -> Result<engine::Proof, Error> {
        if !self.read_since(stamped, seen) {
            // Whoever waits here finds the reading of the one before begun later than what they wait for, and shares it.
            let _turn = self.reading[stamped as usize].lock().await;
            if !self.read_since(stamped, seen) {
                let began = Instant::now();
                match self.read_record(&GUARDS[stamped as usize..=stamped as usize]).await {
                    Ok(record) => self.compare(stamped, &record, began),
                    Err(Error::Api(kube::Error::Api(status))) if status.is_not_found() => {
                        self.break_off(missing(&status.message));
                        self.again.notify_one();
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(self.proof())
    }

    /// The proof as far as it is known.
    #[must_use]
    pub fn proof(&self) -> engine::Proof {
        let Ok(state) = self.state.lock() else {
            return engine::Proof::Broken("the operator is stopping".to_owned());
        };
        match (&state.broken, &state.streak) {
            (None, Some(streak)) => engine::Proof::Since(streak.since),
            (Some(why), _) => engine::Proof::Broken(why.clone()),
            (None, None) => engine::Proof::Broken("the admission policies have not been tried yet".to_owned()),
        }
    }

    fn read_since(&self, stamped: Stamped, seen: Instant) -> bool {
        self.state.lock().is_ok_and(|state| state.read_at[stamped as usize].is_some_and(|read_at| read_at > seen))
    }

    /// Compares what was just read with the record of the streak.
    fn compare(&self, stamped: Stamped, record: &Record, began: Instant) {
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        state.read_at[stamped as usize] = Some(began);
        let same = state.streak.as_ref().is_some_and(|streak| streak.record.covers(record));
        if !same && state.broken.is_none() {
            state.broken = Some(match &state.streak {
                Some(streak) => format!("{} changed; they are being tried again", streak.record.differences(record)),
                None => "the admission policies have not been tried yet".to_owned(),
            });
            drop(state);
            self.tell();
            self.again.notify_one();
        }
    }

    /// One trial. True when the lock holds.
    async fn try_lock(&self) -> Result<bool, Error> {
        let before = match self.read_record(&GUARDS).await {
            Err(Error::Api(kube::Error::Api(status))) if status.is_not_found() => {
                self.break_off(missing(&status.message));
                return Ok(false);
            }
            read => read?,
        };
        let mut faults = Vec::new();
        for shipped in &self.shipped {
            faults.extend(shipped.differs(&self.client).await?);
        }
        let stamped = if faults.is_empty() {
            trial::run(&self.client, &self.namespace, &self.clock, &mut faults).await?
        } else {
            None
        };
        let began = Instant::now();
        let after = self.read_record(&GUARDS).await?;
        if before != after {
            faults.push(format!("{} changed during the trial", before.differences(&after)));
        }
        let (Some(second), true) = (stamped, faults.is_empty()) else {
            self.break_off(faults.join("; "));
            return Ok(false);
        };
        self.continue_or_begin(after, second, began).await?;
        Ok(true)
    }

    /// The lock holds: the streak goes on if the record is the same, else a new one begins.
    async fn continue_or_begin(&self, record: Record, second: i64, began: Instant) -> Result<(), Error> {
        let known = self.state.lock().ok().and_then(|state| state.streak.clone());
        let known = match known {
            Some(streak) => Some(streak),
            None => self.remembered().await?,
        };
        let streak = match known {
            Some(streak) if streak.record == record => streak,
            _ => {
                let streak = Streak { record, since: second };
                self.remember(&streak).await?;
                tracing::info!(since = second, "the admission policies that prove the actor hold; a new streak begins");
                streak
            }
        };
        let since = streak.since;
        let changed = {
            let Ok(mut state) = self.state.lock() else {
                return Ok(());
            };
            let changed = state.broken.is_some() || state.streak.as_ref() != Some(&streak);
            *state = State { streak: Some(streak), broken: None, read_at: [Some(began); KINDS] };
            changed
        };
        if changed {
            // What is created in the second of the trial is not proven yet: ready is who can count the next signal.
            while self.clock.now().as_second() <= since {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            self.tell();
        }
        Ok(())
    }

    fn break_off(&self, why: String) {
        tracing::warn!(why, "the actor proof does not hold: decisions wait");
        if let Ok(mut state) = self.state.lock() {
            state.broken = Some(why);
        }
        self.tell();
    }

    /// Tells everybody whether the proof holds.
    fn tell(&self) {
        let holds = matches!(self.proof(), engine::Proof::Since(_));
        self.metrics.proof.set(i64::from(holds));
        if self.readiness.proven.swap(holds, Ordering::AcqRel) != holds {
            self.changes.announce();
        }
    }

    /// Reads uid and generation of these guards, from the API server itself.
    async fn read_record(&self, guards: &[Guard]) -> Result<Record, Error> {
        let policies = || guards.iter().map(|guard| guard.0);
        let (policies, bindings, crds) = futures::try_join!(
            try_join_all(policies().map(|name| self.read::<ValidatingAdmissionPolicy>(name))),
            try_join_all(policies().map(|name| self.read::<ValidatingAdmissionPolicyBinding>(name))),
            try_join_all(
                guards.iter().filter_map(|guard| guard.1).map(|name| self.read::<CustomResourceDefinition>(name))
            ),
        )?;
        Ok(Record(policies.into_iter().chain(bindings).chain(crds).collect()))
    }

    async fn read<K>(&self, name: &str) -> Result<(String, String), kube::Error>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let api: Api<K> = Api::all(self.client.clone());
        let PartialObjectMeta { metadata, .. } = api.get_metadata(name).await?;
        let ObjectMeta { uid, generation, deletion_timestamp, .. } = metadata;
        let deleted = if deletion_timestamp.is_some() { ", being deleted" } else { "" };
        let stamp = format!("{} generation {}{deleted}", uid.unwrap_or_default(), generation.unwrap_or_default());
        Ok((format!("{} {name}", K::kind(&())), stamp))
    }

    fn config_maps(&self) -> Api<ConfigMap> {
        in_namespace(&self.client, &self.namespace)
    }

    async fn remembered(&self) -> Result<Option<Streak>, Error> {
        let config_map = self.config_maps().get_opt(CONFIG_MAP).await?;
        let text = config_map.and_then(|config_map| config_map.data).and_then(|mut data| data.remove("streak"));
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    async fn remember(&self, streak: &Streak) -> Result<(), Error> {
        let text = serde_json::to_string(streak).map_err(kube::Error::SerdeError)?;
        let mut config_map = ConfigMap {
            metadata: ObjectMeta { name: Some(CONFIG_MAP.to_owned()), ..ObjectMeta::default() },
            data: Some(BTreeMap::from([("streak".to_owned(), text)])),
            ..ConfigMap::default()
        };
        let api = self.config_maps();
        match api.get_opt(CONFIG_MAP).await? {
            Some(old) => {
                config_map.metadata.resource_version = old.metadata.resource_version;
                api.replace(CONFIG_MAP, &PostParams::default(), &config_map).await?;
            }
            None => {
                api.create(&PostParams::default(), &config_map).await?;
            }
        }
        self.metrics.wrote("actor-proof");
        Ok(())
    }
}

impl Record {
    /// Whether everything in the other one is the same here.
    fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(name, stamp)| self.0.get(name) == Some(stamp))
    }

    /// What is not the same in the other one, for people.
    fn differences(&self, other: &Self) -> String {
        let names = other.0.iter().filter(|(name, stamp)| self.0.get(*name) != Some(stamp));
        names.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

fn missing(message: &str) -> String {
    format!("{message}; install the chart")
}

/// The objects of a kind in one namespace.
fn in_namespace<K>(client: &Client, namespace: &str) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), namespace)
}
