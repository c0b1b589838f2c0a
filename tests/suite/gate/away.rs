//! The operator is down, slow or not trusted: what is gated is refused, everything else is untouched. Certificates are renewed.

use super::*;
use crate::cluster::{Operator, OperatorOptions};
use crate::eventually;
use base64::Engine as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::api::{Api, Patch, PatchParams};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Posts to the gate as somebody who trusts its authority (PEM in base64), and gives the HTTP status and the answer.
pub async fn post(url: &url::Url, authority: &str, path: &str, body: &str) -> (u16, String) {
    let pem = base64::engine::general_purpose::STANDARD.decode(authority).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let host = url.host_str().unwrap().to_owned();
    let stream = tokio::net::TcpStream::connect((host.as_str(), url.port().unwrap())).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(ServerName::try_from(host.clone()).unwrap(), stream).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // It may be refused before all of it is sent.
    stream.write_all(body.as_bytes()).await.ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    let text = String::from_utf8_lossy(&answer);
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no answer: {text}")), text.into_owned())
}

/// How the API server reaches the gate: its URL, and its authority as PEM in base64.
pub async fn reached(gated: &Gated<'_>) -> (url::Url, String) {
    let api: Api<ValidatingWebhookConfiguration> = Api::all(gated.scene.admin.client.clone());
    let configuration = json!(api.get("quorate-gate").await.unwrap());
    let client = &configuration["webhooks"][0]["clientConfig"];
    (client["url"].as_str().unwrap().parse().unwrap(), client["caBundle"].as_str().unwrap().to_owned())
}

const CREATE: &[&str] = &["create", "-f", "-"];

#[tokio::test]
async fn attack_25_an_operator_that_is_away_holds_what_is_gated_and_nothing_else() {
    let mut cluster = Cluster::start(true).await;
    let (namespace, kubeconfig) = {
        let gated = Gated::start(&cluster, "attack-25").await;
        gated
            .kubectl_as(
                "mary",
                CREATE,
                &json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "other"},
            "spec": {"ports": [{"port": 80}]}}),
            )
            .await
            .ok()
            .unwrap();
        (gated.scene.namespace.clone(), cluster.plane.kubeconfig_for("mary", &[]).unwrap())
    };
    cluster.operator.signal("STOP").unwrap();
    let create = async |plane: &crate::cluster::ControlPlane, name: &str| {
        let began = Instant::now();
        let arguments = ["-n", &namespace, "create", "-f", "-"];
        let tried =
            plane.run_tool("kubectl", &kubeconfig, &arguments, &config_map(name, "x").to_string()).await.unwrap();
        (tried, began.elapsed())
    };
    let (tried, took) = create(&cluster.plane, "slow").await;
    assert!(tried.status != 0 && tried.stderr.contains("gate.quorate.dev"), "slow: {tried:?}");
    assert!(took < Duration::from_secs(15), "refused within the webhook's timeout: {took:?}");
    cluster.operator.signal("CONT").unwrap();
    cluster.operator.kill().await.unwrap();
    let (tried, _) = create(&cluster.plane, "down").await;
    assert!(tried.status != 0 && tried.stderr.contains("gate.quorate.dev"), "down: {tried:?}");

    let plane = &cluster.plane;
    let service = ["-n", &namespace, "patch", "service", "other", "-p", r#"{"metadata":{"labels":{"a":"b"}}}"#];
    plane.run_tool("kubectl", &kubeconfig, &service, "").await.unwrap().ok().unwrap();
    for exempt in [OPERATOR_NAMESPACE, "kube-system", "default"] {
        plane.kubectl(&["-n", exempt, "create", "configmap", "mended"]).await.unwrap().ok().unwrap();
    }

    // Back again, at another address and without anybody's help.
    cluster.operator = Cluster::spawn_operator(&cluster.plane).await;
    eventually("it holds again, by itself", async || {
        let (tried, _) = create(&cluster.plane, "back").await;
        assert!(tried.status != 0, "nothing passes: {tried:?}");
        tried.stderr.contains("held for approval: changerequest/gate-").then_some(())
    })
    .await;
    cluster.is_well();
}

#[tokio::test]
async fn attack_25_a_gate_that_the_server_does_not_trust_holds_and_mends_itself() {
    let cluster = Cluster::start(true).await;
    let gated = Gated::start(&cluster, "attack-25-ca").await;
    let api: Api<ValidatingWebhookConfiguration> = Api::all(gated.scene.admin.client.clone());
    let mut wrong = api.get("quorate-gate").await.unwrap();
    for webhook in wrong.webhooks.iter_mut().flatten() {
        webhook.client_config.ca_bundle = Some(ByteString(cluster.plane.authority().as_bytes().to_vec()));
    }
    let patch = Patch::Merge(json!({"webhooks": wrong.webhooks}));
    api.patch("quorate-gate", &PatchParams::default(), &patch).await.unwrap();
    eventually("it is mended, and nothing passed meanwhile", async || {
        let tried = gated.kubectl_as("mary", CREATE, &config_map("web", "x")).await;
        assert!(tried.status != 0, "nothing passes: {tried:?}");
        let now = api.get("quorate-gate").await.unwrap();
        let mended = now.webhooks.iter().flatten().all(|webhook| {
            let bundle = webhook.client_config.ca_bundle.as_ref().map(|bundle| bundle.0.as_slice());
            bundle != Some(cluster.plane.authority().as_bytes())
        });
        (mended && tried.stderr.contains("held for approval")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn r25_renewing_certificates_under_load_loses_no_request() {
    let mut cluster = Cluster::start(true).await;
    cluster.operator.terminate(Duration::from_secs(30)).await.unwrap();
    let mut options = OperatorOptions::of(env!("CARGO_BIN_EXE_quorate"));
    options.environment.push(("QUORATE_GATE_CERTIFICATE_LIFETIME".into(), "12s".into()));
    cluster.operator = Operator::spawn(&cluster.plane, options).await.unwrap();
    cluster.operator.wait_ready().await.unwrap();
    let gated = Gated::start(&cluster, "r25-renewed").await;
    let api: Api<ValidatingWebhookConfiguration> = Api::all(gated.scene.admin.client.clone());
    let bundle = async || {
        let now = api.get("quorate-gate").await.unwrap();
        now.webhooks.unwrap().remove(0).client_config.ca_bundle.unwrap().0
    };
    let mary = gated.scene.as_user("mary", &[]).await;
    let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = mary.sees();
    let mut bundles = vec![bundle().await];
    let deadline = Instant::now() + crate::PATIENCE;
    let mut number = 0;
    while bundles.len() < 4 {
        assert!(Instant::now() < deadline, "certificates are not renewed");
        let object = serde_json::from_value(config_map(&format!("web-{}", number % 10), "x")).unwrap();
        let tried = maps.create(&kube::api::PostParams::default(), &object).await;
        refused_by(tried, "gate.quorate.dev", "held for approval");
        number += 1;
        let now = bundle().await;
        if bundles.last() != Some(&now) {
            bundles.push(now);
        }
    }
    cluster.is_well();
}
