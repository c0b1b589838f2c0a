//! The admission policies as they are shipped, compared with what the cluster has.

use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use kube::{Api, Client};
use serde_json::Value;

/// The texts that the chart installs.
const TEXTS: [&str; 6] = [
    include_str!("../../charts/quorate/files/policies/validating/signal-actor.yaml"),
    include_str!("../../charts/quorate/files/policies/validating/instance-initiator.yaml"),
    include_str!("../../charts/quorate/files/policies/validating/delegation-principal.yaml"),
    include_str!("../../charts/quorate/files/policies/validating/change-requester.yaml"),
    include_str!("../../charts/quorate/files/policies/validating/evidence.yaml"),
    include_str!("../../charts/quorate/files/policies/validating/status.yaml"),
];

/// One object as it is shipped.
#[derive(Debug)]
pub(super) struct Shipped {
    kind: String,
    name: String,
    spec: Value,
}

/// Everything that is shipped, for an operator of that username.
pub(super) fn all(operator: &str) -> Result<Vec<Shipped>, String> {
    let mut all = Vec::new();
    for text in TEXTS {
        let text = text.replace("OPERATOR_USERNAME", operator);
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).map_err(|error| error.to_string())?;
        for mut document in documents {
            let field = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (kind, name) = (field(&document["kind"]), field(&document["metadata"]["name"]));
            all.push(Shipped { kind, name, spec: document["spec"].take() });
        }
    }
    Ok(all)
}

impl Shipped {
    /// How what the cluster has differs from what is shipped; none when it does not.
    pub(super) async fn differs(&self, client: &Client) -> Result<Option<String>, kube::Error> {
        let live = if self.kind == "ValidatingAdmissionPolicy" {
            let api: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
            api.get_opt(&self.name).await?.map(|policy| serde_json::to_value(policy.spec))
        } else {
            let api: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
            api.get_opt(&self.name).await?.map(|binding| serde_json::to_value(binding.spec))
        };
        let place = format!("{} {}", self.kind, self.name);
        Ok(match live.transpose().map_err(kube::Error::SerdeError)? {
            None => Some(format!("{place} is missing; install the chart")),
            Some(live) => difference(&self.spec, &live, "spec")
                .map(|field| format!("{place} is not as shipped: {field} differs; install the chart of this version")),
        })
    }
}

/// The first field in which two specs differ. A field that the cluster has in addition may only be empty: servers of other
/// versions default some that way.
fn difference(shipped: &Value, live: &Value, place: &str) -> Option<String> {
    match (shipped, live) {
        (Value::Object(shipped), Value::Object(live)) => {
            let missing = shipped.iter().find_map(|(key, value)| {
                let place = format!("{place}.{key}");
                difference(value, live.get(key).unwrap_or(&Value::Null), &place)
            });
            missing.or_else(|| {
                let added = live.iter().find(|(key, value)| !shipped.contains_key(*key) && !is_empty(value));
                added.map(|(key, _)| format!("{place}.{key}"))
            })
        }
        (Value::Array(shipped), Value::Array(live)) if shipped.len() == live.len() => {
            let mut pairs = shipped.iter().zip(live).enumerate();
            pairs.find_map(|(position, (shipped, live))| difference(shipped, live, &format!("{place}[{position}]")))
        }
        (shipped, Value::Null) if is_empty(shipped) => None,
        (shipped, live) => (shipped != live).then(|| place.to_owned()),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{all, difference};
    use serde_json::json;

    #[test]
    fn r38_every_policy_ships_with_its_binding() {
        let all = all("system:serviceaccount:quorate-system:quorate").expect("the shipped policies can be read");
        let names: Vec<_> = all.iter().map(|shipped| format!("{} {}", shipped.kind, shipped.name)).collect();
        for name in [
            "quorate-signal-actor",
            "quorate-instance-initiator",
            "quorate-delegation-principal",
            "quorate-change-requester",
            "quorate-evidence",
            "quorate-status",
        ] {
            assert!(names.contains(&format!("ValidatingAdmissionPolicy {name}")), "{names:?}");
            assert!(names.contains(&format!("ValidatingAdmissionPolicyBinding {name}")), "{names:?}");
        }
        assert!(all.iter().all(|shipped| !shipped.spec.to_string().contains("OPERATOR_USERNAME")));
    }

    #[test]
    fn r38_a_weakened_policy_is_told_apart() {
        let shipped = json!({"failurePolicy": "Fail", "matchConstraints": {"objectSelector": {}}, "validations": [{"expression": "a"}]});
        let differs = |change: fn(&mut serde_json::Value)| {
            let mut live = shipped.clone();
            change(&mut live);
            difference(&shipped, &live, "spec")
        };
        assert_eq!(differs(|_| ()), None);
        assert_eq!(differs(|live| live["somethingNew"] = json!({})), None);
        assert_eq!(differs(|live| live["failurePolicy"] = json!("Ignore")).as_deref(), Some("spec.failurePolicy"));
        assert_eq!(differs(|live| live["validations"] = json!([])).as_deref(), Some("spec.validations"));
        assert_eq!(
            differs(|live| live["matchConditions"] = json!([{"name": "x"}])).as_deref(),
            Some("spec.matchConditions")
        );
        let exempted = differs(|live| live["matchConstraints"]["objectSelector"] = json!({"matchLabels": {"a": "b"}}));
        assert_eq!(exempted.as_deref(), Some("spec.matchConstraints.objectSelector.matchLabels"));
    }
}
