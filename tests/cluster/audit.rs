//! The server's audit log: who asked for what, and what came of it. Tests count writes in it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// One request that the server has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `create`, `update`, `patch`, `delete`, `deletecollection`, `get`, `list`, `watch`.
    pub verb: String,
    /// The user; with impersonation, the one who is impersonated.
    pub user: String,
    /// The API group; empty for the core group.
    pub group: String,
    /// The resource, in the plural; empty for paths that are no resources.
    pub resource: String,
    /// The subresource, or empty.
    pub subresource: String,
    /// The namespace, or empty.
    pub namespace: String,
    /// The object's name; empty for lists and for creates with a generated name.
    pub name: String,
    /// The HTTP status of the answer.
    pub code: u16,
    /// Whether the query asked for a dry run.
    pub dry_run: bool,
    /// When the request came.
    pub received: jiff::Timestamp,
}

impl Entry {
    /// Whether the request was meant to change something and did: not refused, not a dry run.
    pub fn is_write(&self) -> bool {
        let changes = matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection");
        changes && !self.dry_run && (200..300).contains(&self.code)
    }
}

/// The log of one server.
pub struct AuditLog {
    path: PathBuf,
    offset: u64,
}

impl AuditLog {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, offset: 0 }
    }

    /// The same log from here on: leaves out everything answered so far.
    pub async fn since_now(self) -> Self {
        settle().await;
        let offset = std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
        Self { offset, ..self }
    }

    /// The entries that `wanted` accepts, in the order of the answers.
    pub async fn entries(&self, wanted: impl Fn(&Entry) -> bool) -> Result<Vec<Entry>> {
        use std::io::{Read as _, Seek as _};
        settle().await;
        let mut file = std::fs::File::open(&self.path).context("this control plane keeps no audit log")?;
        file.seek(std::io::SeekFrom::Start(self.offset))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        // The last line may still be being written.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let entries = text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(parse);
        let accepted = entries.filter(|entry| entry.as_ref().map_or(true, &wanted));
        accepted.collect()
    }

    /// The [writes](Entry::is_write) that `wanted` accepts.
    pub async fn writes(&self, wanted: impl Fn(&Entry) -> bool) -> Result<Vec<Entry>> {
        self.entries(|entry| entry.is_write() && wanted(entry)).await
    }
}

/// The server writes the line just after the answer.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

fn parse(line: &[u8]) -> Result<Entry> {
    let event: Value = serde_json::from_slice(line).context("a line of the audit log is no JSON")?;
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let impersonated = text("/impersonatedUser/username");
    let uri = text("/requestURI");
    let query = uri.split_once('?').map_or("", |(_, query)| query);
    Ok(Entry {
        verb: text("/verb"),
        user: if impersonated.is_empty() { text("/user/username") } else { impersonated },
        group: text("/objectRef/apiGroup"),
        resource: text("/objectRef/resource"),
        subresource: text("/objectRef/subresource"),
        namespace: text("/objectRef/namespace"),
        name: text("/objectRef/name"),
        code: event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or(0).try_into().unwrap_or(0),
        dry_run: query.split('&').any(|parameter| parameter.starts_with("dryRun=")),
        received: text("/requestReceivedTimestamp").parse().context("an audit entry without time")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_says_who_did_what() {
        let entry = parse(
            br#"{"verb":"patch","requestURI":"/apis/a.io/v1/namespaces/n/things/x/status?fieldManager=f&dryRun=All",
            "user":{"username":"admin"},"impersonatedUser":{"username":"mary"},"responseStatus":{"code":200},
            "objectRef":{"apiGroup":"a.io","resource":"things","subresource":"status","namespace":"n","name":"x"},
            "requestReceivedTimestamp":"2030-01-02T03:04:05.678901Z"}"#,
        )
        .unwrap();
        assert_eq!((entry.user.as_str(), entry.subresource.as_str(), entry.code), ("mary", "status", 200));
        assert!(entry.dry_run && !entry.is_write());
        assert_eq!(entry.received.to_string(), "2030-01-02T03:04:05.678901Z");
    }
}
