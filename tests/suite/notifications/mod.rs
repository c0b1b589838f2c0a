//! Notifications as people get them: mails that a server has taken and Python's email package has read, webhooks, chats. Assertions
//! are on what was parsed there.
//!
//! - [`told`]: who is told what, by which words, in which language
//! - [`asked`]: who is asked to decide, and who is not
//! - [`topics`]: texts of one's own, broken ones, disabled ones
//! - [`schedules`]: digests and reminders
//! - [`lost`]: servers that are away or refuse, operators that are killed: nothing is lost
//! - [`channels`]: webhooks and chats
//! - [`attacks`]: 39–42, and mail to whom it does not concern

mod asked;
mod attacks;
mod channels;
mod lost;
mod schedules;
#[path = "../../delivery/servers.rs"]
#[allow(dead_code, reason = "the servers do more than is asked of them here")]
mod servers;
mod told;
mod topics;

use crate::endpoint::{Endpoint, SECRET};
use crate::language::runs;
use crate::scene::*;
use crate::{Cluster, eventually};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::events::v1::Event;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::ClusterResourceScope;
use kube::{Api, Resource, ResourceExt};
use quorate::api::*;
use quorate::store::Store;
use serde_json::{Value, json};
use servers::{Mail, Smtp};
use tokio::sync::OnceCell;

/// Who takes no mail in these tests: the server answers 550.
const NOBODY: &str = "nobody@refused.example.com";

/// A cluster whose operator sends mail, and where that goes.
struct Post {
    cluster: Cluster,
    smtp: Smtp,
    endpoint: Endpoint,
    environment: Vec<(&'static str, String)>,
    folder: tempfile::TempDir,
}

impl Post {
    async fn start() -> Self {
        let smtp = Smtp::start(&["--reject", NOBODY]).await.unwrap();
        let url = smtp.url();
        Self::with(smtp, Some(url)).await
    }

    /// The same with this server, which the operator knows under that URL.
    async fn with(smtp: Smtp, url: Option<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::start();
        let to = |path: &str| format!("http://{}/hooks/{path}", endpoint.address);
        let channels = json!([
            {"name": "audit", "kind": "CloudEvents", "url": to("audit"), "secret": format!("whsec_{}", STANDARD.encode(SECRET)), "events": ["completed"]},
            {"name": "team", "kind": "Slack", "url": to("team"), "events": []},
            {"name": "duty", "kind": "Mattermost", "url": to("duty"), "events": []},
        ]);
        let file = folder.path().join("channels.yaml");
        std::fs::write(&file, channels.to_string()).unwrap();
        let mut environment = vec![
            ("QUORATE_STORE_URL", format!("sqlite:{}", folder.path().join("quorate.db").display())),
            ("QUORATE_CHANNELS_FILE", file.display().to_string()),
            ("QUORATE_MAIL_FROM", "Quorate <quorate@example.com>".to_owned()),
        ];
        environment.extend(url.map(|url| ("QUORATE_SMTP_URL", url)));
        let cluster = Cluster::start_with(true, &[], &environment).await;
        Self { cluster, smtp, endpoint, environment, folder }
    }

    /// The mails to everybody of a test, in the order in which they arrived.
    fn mails(&self, scene: &Scene<'_>) -> Vec<Mail> {
        let domain = format!("@{}.example.com", scene.namespace);
        let mut mails = self.smtp.mails();
        mails.retain(|mail| mail.to.iter().any(|to| to.ends_with(&domain)));
        mails
    }

    /// Waits for the mail to somebody of a test whose subject begins like this.
    async fn brings(&self, scene: &Scene<'_>, name: &str, subject: &str) -> Mail {
        let address = scene.mailbox(name);
        eventually(&format!("{name} gets {subject:?}"), async || {
            let mut mails = self.mails(scene).into_iter();
            mails.find(|mail| mail.to == [address.as_str()] && mail.header("Subject").starts_with(subject))
        })
        .await
    }

    /// All the mails of a test whose instance has ended and told the archive so: whatever was to be told has been queued by then,
    /// and is carried away.
    async fn has_brought(&self, scene: &Scene<'_>, title: &str) -> Vec<Mail> {
        eventually(&format!("the archive hears of {title}"), async || {
            let archive = scene.mailbox("archive");
            let ends = |mail: &Mail| mail.to == [archive.as_str()] && mail.header("Subject").ends_with(title);
            self.mails(scene).iter().any(ends).then_some(())
        })
        .await;
        self.is_done().await;
        self.mails(scene)
    }

    /// Waits until nothing waits to be sent.
    async fn is_done(&self) {
        let store = self.store().await;
        eventually("everything is sent", async || (store.census(0).await.unwrap().queued == 0).then_some(())).await;
    }

    /// What the operator keeps.
    async fn store(&self) -> Store {
        Store::open(&format!("sqlite:{}", self.folder.path().join("quorate.db").display())).await.unwrap()
    }

    /// Starts the operator anew, with this environment besides.
    async fn starts_again(&mut self, more: &[(&'static str, String)]) {
        self.environment.extend_from_slice(more);
        self.cluster.operator = Cluster::spawn_operator_with(&self.cluster.plane, &self.environment).await;
    }
}

static POST: OnceCell<Post> = OnceCell::const_new();

/// The cluster that these tests share.
async fn post() -> &'static Post {
    POST.get_or_init(Post::start).await
}

/// To whom, a colon, the subject; in order.
fn told(mails: &[Mail]) -> Vec<String> {
    let mut told: Vec<_> = mails
        .iter()
        .map(|mail| {
            let to: Vec<_> = mail.to.iter().map(|to| to.split('@').next().unwrap_or_default()).collect();
            format!("{}: {}", to.join(" "), mail.header("Subject"))
        })
        .collect();
    told.sort();
    told
}

impl Mail {
    fn part(&self, content_type: &str) -> &str {
        let mut parts = self.parts.iter().filter(|part| part.content_type == content_type);
        &parts.next().unwrap_or_else(|| panic!("no {content_type} in {self:?}")).text
    }

    /// The plain text, lines ended as here.
    fn text(&self) -> String {
        self.part("text/plain").replace("\r\n", "\n")
    }

    /// The HTML, as a browser reads the escaped slash.
    fn html(&self) -> String {
        self.part("text/html").replace("&#x2f;", "/")
    }
}

impl Scene<'_> {
    /// The mail address of somebody of this test.
    fn mailbox(&self, name: &str) -> String {
        format!("{name}@{}.example.com", self.namespace)
    }

    /// A person of the directory who reads mail.
    async fn reader(&self, name: &str, mut spec: Value) -> Person {
        if spec.get("email").is_none() {
            spec["email"] = json!(self.mailbox(name));
        }
        self.person(name, spec).await
    }

    /// A definition of this spec that can be used.
    async fn definition(&self, name: &str, spec: Value) -> WorkflowDefinition {
        let definition: WorkflowDefinition = self.has(name, spec).await;
        self.ready(&definition, "True").await;
        definition
    }

    /// Waits until an Event about an instance gives this reason; what it says.
    async fn says_event(&self, instance: &WorkflowInstance, reason: &str) -> String {
        let api: Api<Event> = self.admin.sees();
        eventually(&format!("an Event {reason} about {}", instance.name_any()), async || {
            let events = api.list(&ListParams::default()).await.unwrap().items;
            let about = |event: &Event| {
                event.reason.as_deref() == Some(reason)
                    && event.regarding.as_ref().is_some_and(|object| object.uid == instance.uid())
            };
            events.into_iter().find(about).and_then(|event| event.note)
        })
        .await
    }

    /// The archive hears of everything that ends.
    fn archive(&self) -> Value {
        json!({"on": "completed", "to": [{"address": self.mailbox("archive")}]})
    }
}

impl Person {
    /// Asks for something of this title and waits until people are asked.
    async fn asks_for(&self, scene: &Scene<'_>, definition: &WorkflowDefinition, title: &str) -> WorkflowInstance {
        let mut spec = runs(definition);
        spec["title"] = json!(title);
        let name = format!(
            "{}-{}",
            definition.name_any(),
            title.to_lowercase().replace(|letter: char| !letter.is_ascii_alphanumeric(), "-")
        );
        scene.asking(&self.opens(name.trim_matches('-'), spec).await).await
    }
}

/// Waits until a condition of an object that belongs to no namespace has a status and a reason; gives the message.
async fn says<K>(scene: &Scene<'_>, object: &K, type_: &str, status: &str, reason: &str) -> String
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope>,
{
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = Api::all_with(scene.admin.client.clone(), &resource);
    eventually(&format!("{} has {type_}={status}, {reason}", object.name_any()), async || {
        let now = api.get(&object.name_any()).await.unwrap();
        let conditions = now.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.into_iter().find(|condition| condition["type"] == type_)?;
        let holds = found["status"] == status && found["reason"] == reason;
        holds.then(|| found["message"].as_str().unwrap_or_default().to_owned())
    })
    .await
}
