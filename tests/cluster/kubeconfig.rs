//! Kubeconfigs: how somebody reaches a cluster, as a file and as a client.

use std::path::Path;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use serde_json::{Value, json};

use super::pki::Identity;

/// What a bearer shows.
pub enum Credentials {
    /// A client certificate.
    Certificate(Identity),
    /// A ServiceAccount's token.
    Token(String),
}

/// The name of the cluster and of the context in every kubeconfig.
pub const CONTEXT: &str = "quorate";

/// A kubeconfig with one context, which is the current one.
pub fn compose(url: &str, authority: &str, user: &str, credentials: &Credentials) -> Value {
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let credentials = match credentials {
        Credentials::Certificate(identity) => json!({
            "client-certificate-data": encode(&identity.certificate),
            "client-key-data": encode(&identity.key),
        }),
        Credentials::Token(token) => json!({ "token": token }),
    };
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": CONTEXT,
            "cluster": { "server": url, "certificate-authority-data": encode(authority) },
        }],
        "users": [{ "name": user, "user": credentials }],
        "contexts": [{ "name": CONTEXT, "context": { "cluster": CONTEXT, "user": user } }],
        "current-context": CONTEXT,
    })
}

/// Writes a kubeconfig, readable by its owner only. JSON is YAML.
pub fn save(kubeconfig: &Value, path: &Path) -> Result<()> {
    let folder = path.parent().context("a kubeconfig lies in a folder")?;
    std::fs::create_dir_all(folder)?;
    // Beside and renamed, so that a reader never sees half of it, and two writers never each other's.
    let file = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer_pretty(&file, kubeconfig)?;
    file.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

/// A client that does what the kubeconfig says.
pub async fn client(kubeconfig: Value) -> Result<kube::Client> {
    Ok(kube::Client::try_from(config(kubeconfig).await?)?)
}

/// A client's configuration, to change before making the client.
pub async fn config(kubeconfig: Value) -> Result<kube::Config> {
    let kubeconfig = serde_json::from_value(kubeconfig)?;
    Ok(kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await?)
}

/// A file name for a user and groups: stable, and different for different ones.
pub fn file_name(user: &str, groups: &[&str]) -> String {
    let parts: Vec<String> = std::iter::once(&user).chain(groups).map(|part| escape(part)).collect();
    format!("{}.kubeconfig", parts.join("+"))
}

fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02x}");
        }
        escaped
    })
}
