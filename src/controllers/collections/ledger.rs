//! What is remembered of collections: `ConfigMaps` in the operator's namespace, of fixed names, shared by all processes.
//!
//! The entries of a process are spread over them by the uid of the object. Each write carries the resourceVersion, and is refused
//! when what is there is not what was written last: two operators cannot both go by it.

use crate::collection::Entry;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// How many `ConfigMaps` there are: `quorate-collection-0` to `-f`.
pub const SHARDS: usize = 16;

/// How often a write is tried that others get in between of.
const TRIES: usize = 20;

/// Why something cannot be remembered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not answer, or refused.
    #[error("ConfigMap {name}: {source}")]
    Api {
        /// The `ConfigMap`.
        name: String,
        /// Why.
        source: kube::Error,
    },
    /// What is there was written by somebody else.
    #[error("ConfigMap {0}: its entries were written by another operator; they are read again")]
    Stale(String),
    /// What is there cannot be read.
    #[error(
        "ConfigMap {name}: {source}; restore it from a backup, or remove key {key}: what belongs to the collection then triggers nothing"
    )]
    Unreadable {
        /// The `ConfigMap`.
        name: String,
        /// The key.
        key: String,
        /// Why.
        source: serde_json::Error,
    },
    /// There is no room for it.
    #[error("ConfigMap {0} is full")]
    Full(String),
}

/// The entries of one process.
pub struct Ledger {
    api: Api<ConfigMap>,
    process_uid: String,
    written: Vec<Option<String>>,
}

/// What is known of a process: what defined its collection, none before its first listing is on record; and its entries by uid.
pub type Known = (Option<String>, BTreeMap<String, Entry>);

impl Ledger {
    /// Reads the entries of a process.
    ///
    /// # Errors
    /// When the API server does not answer, or they cannot be read.
    pub async fn open(client: &Client, namespace: &str, process_uid: &str) -> Result<(Self, Known), Error> {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let mut ledger = Self { api, process_uid: process_uid.to_owned(), written: Vec::with_capacity(SHARDS) };
        let (mut definition, mut entries) = (None, BTreeMap::new());
        for shard in 0..SHARDS {
            let found = ledger.read(shard).await?;
            let data = found.and_then(|found| found.data).unwrap_or_default();
            if shard == 0 {
                definition = data.get(&ledger.definition_key()).cloned();
            }
            let text = data.get(process_uid).cloned();
            if let Some(text) = &text {
                let own: BTreeMap<String, Entry> = serde_json::from_str(text).map_err(|source| Error::Unreadable {
                    name: name_of(shard),
                    key: process_uid.to_owned(),
                    source,
                })?;
                entries.extend(own);
            }
            ledger.written.push(text);
        }
        Ok((ledger, (definition, entries)))
    }

    /// Writes the entries of those shards.
    ///
    /// # Errors
    /// When they cannot be written, or are not what was written last.
    pub async fn write(&mut self, shards: &BTreeSet<usize>, entries: &BTreeMap<String, Entry>) -> Result<(), Error> {
        for shard in shards {
            let own: BTreeMap<&String, &Entry> = entries.iter().filter(|(uid, _)| shard_of(uid) == *shard).collect();
            let text = (!own.is_empty()).then(|| serde_json::to_string(&own).unwrap_or_default());
            if text == self.written[*shard] {
                continue;
            }
            let (key, before) = (self.process_uid.clone(), self.written[*shard].clone());
            self.change(*shard, |data| {
                if data.get(&key) != before.as_ref() {
                    return Err(Error::Stale(name_of(*shard)));
                }
                match &text {
                    Some(text) => data.insert(key.clone(), text.clone()),
                    None => data.remove(&key),
                };
                Ok(())
            })
            .await?;
            self.written[*shard] = text;
        }
        Ok(())
    }

    /// Records that everything that belongs to the collection of this definition has been listed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn listed(&mut self, definition: &str) -> Result<(), Error> {
        let key = self.definition_key();
        self.change(0, |data| {
            data.insert(key.clone(), definition.to_owned());
            Ok(())
        })
        .await
    }

    /// Forgets the processes that are not among these.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn forget(client: &Client, namespace: &str, kept: impl Fn() -> BTreeSet<String>) -> Result<(), Error> {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let ledger = Self { api, process_uid: String::new(), written: Vec::new() };
        for shard in 0..SHARDS {
            let Some(found) = ledger.read(shard).await? else { continue };
            // Read after the record: whoever has an entry in it is known by now.
            let kept = kept();
            let is_kept = |key: &String| kept.contains(key.split('.').next().unwrap_or_default());
            if found.data.unwrap_or_default().keys().all(is_kept) {
                continue;
            }
            ledger
                .change(shard, |data| {
                    data.retain(|key, _| is_kept(key));
                    Ok(())
                })
                .await?;
        }
        Ok(())
    }

    fn definition_key(&self) -> String {
        format!("{}.definition", self.process_uid)
    }

    async fn read(&self, shard: usize) -> Result<Option<ConfigMap>, Error> {
        let name = name_of(shard);
        self.api.get_opt(&name).await.map_err(|source| Error::Api { name, source })
    }

    async fn change(
        &self,
        shard: usize,
        change: impl Fn(&mut BTreeMap<String, String>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let name = name_of(shard);
        let mut last = None;
        for _ in 0..TRIES {
            let found = self.read(shard).await?;
            let is_new = found.is_none();
            let mut map = found.unwrap_or_else(|| ConfigMap {
                metadata: ObjectMeta {
                    name: Some(name.clone()),
                    labels: Some(BTreeMap::from([("app.kubernetes.io/name".to_owned(), "quorate".to_owned())])),
                    ..ObjectMeta::default()
                },
                ..ConfigMap::default()
            });
            change(map.data.get_or_insert_default())?;
            let parameters = PostParams::default();
            let sent = if is_new {
                self.api.create(&parameters, &map).await
            } else {
                self.api.replace(&name, &parameters, &map).await
            };
            match sent {
                Ok(_) => return Ok(()),
                Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
                    last = Some(kube::Error::Api(status));
                }
                Err(kube::Error::Api(status)) if status.is_invalid() || status.code == 413 => {
                    return Err(Error::Full(name));
                }
                Err(source) => return Err(Error::Api { name, source }),
            }
        }
        Err(last.map_or_else(|| Error::Stale(name.clone()), |source| Error::Api { name: name.clone(), source }))
    }
}

fn name_of(shard: usize) -> String {
    format!("quorate-collection-{shard:x}")
}

/// Where the entry of an object is kept.
pub fn shard_of(uid: &str) -> usize {
    usize::from(Sha256::digest(uid.as_bytes())[0]) % SHARDS
}
