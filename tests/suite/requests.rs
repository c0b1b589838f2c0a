//! Certificate requests of Kubernetes, honest ones and others.

use crate::eventually;
use crate::scene::{OPERATOR_NAMESPACE, Person, Scene};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestSpec,
};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt};
use quorate::api::{ApprovalProcess, WorkflowInstance};
use quorate::pending::csr::instance_name;
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};
use yasna::models::ObjectIdentifier;
use yasna::{DERWriter, Tag};

/// The subject of a request: attributes and their values.
pub type Subject<'a> = [(&'a [u64], &'a str)];

/// The common name: the user of a client certificate.
pub const CN: &[u64] = &[2, 5, 4, 3];
/// An organization: a group of that user.
pub const O: &[u64] = &[2, 5, 4, 10];
/// The uid of that user.
pub const UID: &[u64] = &[1, 3, 6, 1, 4, 1, 57683, 2];

const ECDSA_WITH_SHA256: &[u64] = &[1, 2, 840, 10045, 4, 3, 2];

impl Scene<'_> {
    /// A process that takes the certificate requests of this test, and only those for which the conditions hold.
    pub async fn process(&self, name: &str, workflow: &str, conditions: &[&str]) -> ApprovalProcess {
        self.has(name, self.process_spec(workflow, conditions)).await
    }

    /// What such a process is.
    pub fn process_spec(&self, workflow: &str, conditions: &[&str]) -> Value {
        let mine = format!("object.metadata.name.startsWith('{}-')", self.namespace);
        let named = |(position, expression)| json!({"name": format!("condition-{position}"), "expression": expression});
        let conditions = [&[mine.as_str()], conditions].concat();
        let conditions: Vec<_> = conditions.into_iter().enumerate().map(named).collect();
        let resources = json!([{"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"]}]);
        json!({
            "event": {"pending": {"resources": resources, "matchConditions": conditions}},
            "workflowRef": {"name": workflow},
        })
    }

    /// Waits for the instance that the operator opens for a request.
    pub async fn opened_for(&self, request: &CertificateSigningRequest) -> WorkflowInstance {
        let what = format!("an instance is opened for {}", request.name_any());
        let instance = eventually(&what, async || self.instance_of(request).await).await;
        self.asking(&instance).await
    }

    /// The instance that the operator has opened for a request.
    pub async fn instance_of(&self, request: &CertificateSigningRequest) -> Option<WorkflowInstance> {
        let api: Api<WorkflowInstance> = Api::namespaced(self.admin.client.clone(), OPERATOR_NAMESPACE);
        let mut found = None;
        for attempt in 0..5 {
            let instance = api.get_opt(&instance_name(request, attempt)).await.unwrap();
            found = found.or(instance.filter(|instance| instance.spec.process_ref.is_some()));
        }
        found
    }

    /// The request as it is now.
    pub async fn request(&self, request: &CertificateSigningRequest) -> CertificateSigningRequest {
        Api::all(self.admin.client.clone()).get(&request.name_any()).await.unwrap()
    }

    /// Nobody has decided the request.
    pub async fn undecided(&self, request: &CertificateSigningRequest) {
        let found = self.request(request).await;
        assert_eq!(conditions(&found), Vec::new(), "{} was decided", request.name_any());
    }

    /// Waits until the request has been decided; gives the condition.
    pub async fn decision_on(&self, request: &CertificateSigningRequest) -> CertificateSigningRequestCondition {
        eventually(&format!("{} is decided", request.name_any()), async || {
            conditions(&self.request(request).await).into_iter().next()
        })
        .await
    }
}

impl Person {
    /// Requests a certificate with this subject, under a name that is [made unique](Scene::unique).
    pub async fn requests(&self, scene: &Scene<'_>, name: &str, subject: &Subject<'_>) -> CertificateSigningRequest {
        let request = CertificateSigningRequest {
            metadata: ObjectMeta { name: Some(scene.unique(name)), ..ObjectMeta::default() },
            spec: CertificateSigningRequestSpec {
                request: ByteString(pkcs10(subject).into_bytes()),
                signer_name: "kubernetes.io/kube-apiserver-client".into(),
                usages: Some(vec!["client auth".into()]),
                ..CertificateSigningRequestSpec::default()
            },
            status: None,
        };
        Api::all(self.client.clone()).create(&PostParams::default(), &request).await.unwrap()
    }
}

fn conditions(request: &CertificateSigningRequest) -> Vec<CertificateSigningRequestCondition> {
    request.status.clone().and_then(|status| status.conditions).unwrap_or_default()
}

/// A PKCS#10 request (RFC 2986), PEM: written by hand, since a name in rcgen holds each attribute once.
pub fn pkcs10(subject: &Subject<'_>) -> String {
    use base64::Engine as _;
    let key = KeyPair::generate().unwrap();
    let body = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_u8(0); // version 1
            writer.next().write_sequence(|writer| {
                for (kind, value) in subject {
                    writer.next().write_set(|writer| {
                        writer.next().write_sequence(|writer| {
                            writer.next().write_oid(&ObjectIdentifier::from_slice(kind));
                            writer.next().write_utf8_string(value);
                        });
                    });
                }
            });
            writer.next().write_der(&key.subject_public_key_info());
            writer.next().write_tagged_implicit(Tag::context(0), |writer| writer.write_set(|_| ()));
        });
    });
    let signature = key.sign(&body).unwrap();
    let algorithm = |writer: DERWriter| {
        writer.write_sequence(|writer| writer.next().write_oid(&ObjectIdentifier::from_slice(ECDSA_WITH_SHA256)));
    };
    let request = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_der(&body);
            algorithm(writer.next());
            writer.next().write_bitvec_bytes(&signature, signature.len() * 8);
        });
    });
    let text = base64::engine::general_purpose::STANDARD.encode(request);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n", lines.join("\n"))
}
