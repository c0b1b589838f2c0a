//! Many people at the same time.

use super::*;
use futures::future::join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams};
use std::collections::BTreeSet;

#[tokio::test]
async fn r32_two_hundred_requests_of_fifty_people_at_the_same_time() {
    let cluster = crate::with_mutating_policy().await;
    let gated = Gated::start(cluster, "r32-crowd").await;
    let people = join_all((0..50).map(|number| {
        let scene = &gated.scene;
        async move { scene.as_user(&format!("person-{number}"), &[]).await }
    }));
    let people = people.await;
    let tries = people.iter().flat_map(|person| (0..4).map(move |number| (person, number)));
    // Each asks for two things, twice at the same time.
    let tries = tries.map(|(person, number)| async move {
        let name = format!("{}-{}", person.name(), number % 2);
        let object: ConfigMap = serde_json::from_value(config_map(&name, "x")).unwrap();
        let api: Api<ConfigMap> = person.sees();
        api.create(&PostParams::default(), &object).await
    });
    for tried in join_all(tries).await {
        refused_by(tried, "gate.quorate.dev", "held for approval: changerequest/gate-");
    }
    let requests = gated.requests().await;
    let about: BTreeSet<_> = requests.iter().map(|request| held_of(request).name.clone()).collect();
    assert_eq!((requests.len(), about.len()), (100, 100), "one for each thing that somebody asked for");
    let maps: Api<ConfigMap> = gated.scene.admin.sees();
    let made = maps.list(&ListParams::default()).await.unwrap();
    assert!(made.iter().all(|map| !map.name_any().starts_with("person-")), "nothing passed");
}
