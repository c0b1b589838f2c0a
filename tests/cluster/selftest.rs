//! The harness keeps its promises.

use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ObjectMeta, PostParams};
use rcgen::{CertificateParams, DnType, KeyPair};

use super::supervisor::Supervisor;
use super::{ControlPlane, Options};

#[tokio::test]
async fn a_control_plane_serves_people_tokens_and_certificates() {
    let cluster = ControlPlane::start(Options::default()).await.unwrap();
    people_are_who_their_certificates_say(&cluster).await;
    tokens_are_accepted(&cluster).await;
    the_audit_log_tells_writes_from_the_rest(&cluster).await;
    approved_requests_are_signed(&cluster).await;

    let folder = cluster.folder().to_owned();
    drop(cluster);
    assert!(!folder.exists());
}

/// In all their groups.
async fn people_are_who_their_certificates_say(cluster: &ControlPlane) {
    let mary = cluster.as_user("mary", &["teachers", "enrollment-approvers"]).await.unwrap();
    let review = Api::all(mary).create(&PostParams::default(), &SelfSubjectReview::default()).await.unwrap();
    let who = review.status.and_then(|status| status.user_info).unwrap();
    assert_eq!(who.username.as_deref(), Some("mary"));
    assert_eq!(who.groups.unwrap()[..2], ["teachers", "enrollment-approvers"]);
}

/// Those of ServiceAccounts.
async fn tokens_are_accepted(cluster: &ControlPlane) {
    let token = cluster.service_account_token("default", "default").await.unwrap();
    let bearer = cluster.as_bearer(&token).await.unwrap();
    let review = Api::all(bearer).create(&PostParams::default(), &SelfSubjectReview::default()).await.unwrap();
    let who = review.status.and_then(|status| status.user_info).unwrap();
    assert_eq!(who.username.as_deref(), Some("system:serviceaccount:default:default"));
}

/// A dry run and a refusal change nothing.
async fn the_audit_log_tells_writes_from_the_rest(cluster: &ControlPlane) {
    let log = cluster.audit().since_now().await;
    let namespace = cluster.temp_namespace("audit").await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(cluster.admin().await.unwrap(), &namespace);
    let metadata = ObjectMeta { name: Some("one".into()), ..ObjectMeta::default() };
    let one = ConfigMap { metadata, ..ConfigMap::default() };
    maps.create(&PostParams { dry_run: true, ..PostParams::default() }, &one).await.unwrap();
    maps.create(&PostParams::default(), &one).await.unwrap();
    maps.create(&PostParams::default(), &one).await.unwrap_err();
    let by_admin = |entry: &super::Entry| entry.user == "admin" && entry.resource == "configmaps";
    assert_eq!(log.entries(by_admin).await.unwrap().len(), 3);
    assert_eq!(log.writes(by_admin).await.unwrap().len(), 1);
}

/// By the controller manager.
async fn approved_requests_are_signed(cluster: &ControlPlane) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "jane");
    let request = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    let requests: Api<CertificateSigningRequest> = Api::all(cluster.admin().await.unwrap());
    let request = CertificateSigningRequest {
        metadata: ObjectMeta { name: Some("jane".into()), ..ObjectMeta::default() },
        spec: CertificateSigningRequestSpec {
            request: k8s_openapi::ByteString(request.into_bytes()),
            signer_name: "kubernetes.io/kube-apiserver-client".into(),
            usages: Some(vec!["client auth".into()]),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    };
    requests.create(&PostParams::default(), &request).await.unwrap();
    cluster.kubectl(&["certificate", "approve", "jane"]).await.unwrap().ok().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let status = requests.get("jane").await.unwrap().status;
        if let Some(certificate) = status.and_then(|status| status.certificate) {
            assert!(certificate.0.starts_with(b"-----BEGIN CERTIFICATE"));
            break;
        }
        assert!(Instant::now() < deadline, "no certificate:\n{}", cluster.log_tail("kube-controller-manager", 20));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_older_server_knows_no_mutating_admission_policy() {
    let options = Options { mutating_admission_policies: false, controller_manager: false, ..Options::default() };
    let cluster = ControlPlane::start(options).await.unwrap();
    let kinds = cluster.kubectl(&["api-resources", "--api-group=admissionregistration.k8s.io"]).await.unwrap();
    let kinds = kinds.ok().unwrap();
    assert!(kinds.contains("ValidatingAdmissionPolicy"), "{kinds}");
    assert!(!kinds.contains("MutatingAdmissionPolicy"), "{kinds}");
}

#[tokio::test]
async fn programs_end_with_their_supervisor() {
    let folder = tempfile::tempdir().unwrap().keep();
    let mut supervisor = Supervisor::new(folder.clone()).unwrap();
    // Deaf to a polite request, and its parent too.
    let deaf = ["bash", "-c", "trap '' TERM; echo started; while true; do sleep 0.1; done"].map(str::to_owned);
    supervisor.start("deaf", &deaf).await.unwrap();
    supervisor.start("brief", &["bash", "-c", "exit 3"].map(str::to_owned)).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while supervisor.exit_status("brief").is_none() || supervisor.log_tail("deaf", 1).is_empty() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((supervisor.exit_status("brief"), supervisor.exit_status("deaf")), (Some(3), None));
    let pid = std::fs::read_to_string(folder.join("deaf.pid")).unwrap();
    drop(supervisor);
    assert!(!folder.exists());
    let alive = std::process::Command::new("bash").args(["-c", &format!("kill -0 {pid}")]).output().unwrap();
    assert!(!alive.status.success());
}
