//! How the people of the story reach the cluster: on a control plane of our own everybody has a certificate; on somebody
//! else's cluster the user of the context speaks in their names.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::cast::{ADMIN, Person};
use super::guest::Guest;
use crate::cluster::{ControlPlane, Output, kubeconfig};

/// A cluster, for everybody who plays.
pub enum Access {
    /// Everybody has a kubeconfig of their own, with a client certificate.
    Certificates(Box<ControlPlane>),
    /// Everybody is impersonated.
    Impersonation(Guest),
}

impl Access {
    /// kubectl as somebody, with a standard input.
    pub async fn kubectl(&self, who: &Person, arguments: &[&str], input: &str) -> Result<Output> {
        match self {
            Self::Certificates(control_plane) => {
                let kubeconfig = match who.name {
                    name if name == ADMIN.name => control_plane.admin_kubeconfig()?,
                    name => control_plane.kubeconfig_for(name, who.groups)?,
                };
                control_plane.run_tool("kubectl", &kubeconfig, arguments, input).await
            }
            Self::Impersonation(guest) => {
                let mut all = impersonation(who);
                all.extend(arguments);
                guest.kubectl(&all, input).await
            }
        }
    }

    /// What kubectl prints when it succeeds.
    pub async fn read(&self, who: &Person, arguments: &[&str]) -> Result<String> {
        let output = self.kubectl(who, arguments, "").await?;
        output.ok().with_context(|| format!("kubectl {} (as {})", arguments.join(" "), who.name))
    }

    /// What kubectl gives as JSON.
    pub async fn object(&self, who: &Person, arguments: &[&str]) -> Result<Value> {
        let arguments: Vec<_> = arguments.iter().copied().chain(["-o", "json"]).collect();
        serde_json::from_str(&self.read(who, &arguments).await?)
            .with_context(|| format!("kubectl {} gave no JSON", arguments.join(" ")))
    }

    /// The line that somebody types, with their prompt; `command` begins with `kubectl`.
    pub fn line(&self, who: &Person, command: &str) -> String {
        match self {
            Self::Certificates(_) => format!("{}$ {command}", who.name),
            Self::Impersonation(_) => {
                let flags = impersonation(who).into_iter();
                let kubectl: Vec<_> = std::iter::once("kubectl").chain(flags).collect();
                format!("$ {}", command.replacen("kubectl", &kubectl.join(" "), 1))
            }
        }
    }

    /// Whether the cluster has nothing to do with Quorate but this story.
    pub fn is_ours(&self) -> bool {
        match self {
            Self::Certificates(_) => true,
            Self::Impersonation(guest) => !guest.has_quorate(),
        }
    }

    /// kubectl with a certificate that the story has brought forth, and with no other credentials: the control plane's
    /// own only, as somebody else's may be behind a proxy that takes no certificates.
    pub async fn whoami_with(&self, certificate: &str, key: &str) -> Result<Option<String>> {
        let Self::Certificates(control_plane) = self else { return Ok(None) };
        let path = |name: &str| control_plane.folder().join(name).to_string_lossy().into_owned();
        let (certificate_file, key_file) = (path("martha.crt"), path("martha.key"));
        std::fs::write(&certificate_file, certificate)?;
        std::fs::write(&key_file, key)?;
        let nobody = kubeconfig::Credentials::Token(String::new());
        let mut content = kubeconfig::compose(control_plane.url(), control_plane.authority(), "nobody", &nobody);
        content["users"][0]["user"] = json!({});
        let address = control_plane.folder().join("nobody.kubeconfig");
        kubeconfig::save(&content, &address)?;
        let arguments = ["--client-certificate", &certificate_file, "--client-key", &key_file, "auth", "whoami"];
        let output = control_plane.run_tool("kubectl", &address, &arguments, "").await?;
        Ok(Some(output.ok().context("the new certificate does not log in")?))
    }
}

fn impersonation(who: &Person) -> Vec<&'static str> {
    if who.name == ADMIN.name {
        return Vec::new();
    }
    let groups = who.groups.iter().flat_map(|group| ["--as-group", *group]);
    ["--as", who.name].into_iter().chain(groups).collect()
}
