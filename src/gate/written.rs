//! Change requests written by hand, as the gate sees them: an approved change stands for the request that it describes, of the same
//! requester, once.

use super::answer::{ATTEMPTS, Error};
use crate::api::{Actor, ChangeRequest, ChangeState, ChangeStatus, Held};
use crate::change::carrier::REPEATED;
use crate::controllers::Context;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::PostParams;
use kube::{Api, ResourceExt};

/// What a change written by hand says to a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stands {
    /// Nothing.
    Not,
    /// It passed by it a moment ago: the API server repeats calls.
    Repeated,
    /// It passes once the grant is claimed.
    Granted,
}

/// Whether a request passes by a change that was written by hand and approved: claims its grant, except in a dry run. `generated` is
/// the name that the server made up.
pub(super) async fn passes(
    context: &Context,
    user: &Actor,
    held: &Held,
    generated: &str,
    dry_run: bool,
) -> Result<Option<&'static str>, Error> {
    let known = context.changes.standing_for(&user.username, &held.digest, &held.base);
    // Two calls for the same made up name: the second is judged when it is known for which name the first claimed.
    let _alone = if known.is_empty() || !held.generated_name { None } else { Some(context.gate.alone().await) };
    for known in known {
        if let Some(passed) = passes_by(context, user, held, generated, dry_run, &known).await? {
            return Ok(Some(passed));
        }
    }
    Ok(None)
}

/// The same by one request. Where another call was faster with the claim, it is judged again: it may have been the same request,
/// which the API server asks about once for every process.
async fn passes_by(
    context: &Context,
    user: &Actor,
    held: &Held,
    generated: &str,
    dry_run: bool,
    known: &ChangeRequest,
) -> Result<Option<&'static str>, Error> {
    let requests: Api<ChangeRequest> = Api::namespaced(context.client.clone(), &known.namespace().unwrap_or_default());
    for _ in 0..ATTEMPTS {
        let found = requests.get_opt(&known.name_any()).await;
        let found = found.map_err(|source| Error::Api { what: "its change request", source })?;
        let own = |request: &ChangeRequest| request.spec.requester.as_ref().is_some_and(|asked| asked.is_same(user));
        let Some(mut request) = found.filter(own) else { return Ok(None) };
        let now = context.clock.now();
        let uid = request.uid().unwrap_or_default();
        let claim = |change: &ChangeStatus| format!("{uid}/{}", change.name);
        let repeats = |change: &ChangeStatus| context.gate.claimed(&claim(change), generated);
        let changes = request.status.iter_mut().flat_map(|status| &mut status.changes);
        let standing = changes
            .map(|change| (stands(change, held, repeats(change), now), change))
            .find(|(stands, _)| *stands != Stands::Not);
        match standing {
            None | Some((Stands::Not, _)) => return Ok(None),
            Some((Stands::Repeated, _)) => return Ok(Some("repeated")),
            Some((Stands::Granted, _)) if dry_run => return Ok(Some("dry-run")),
            Some((Stands::Granted, change)) => {
                if let Some(grant) = &mut change.grant {
                    grant.claimed_at = Some(Time(now));
                }
                let claim = claim(change);
                match requests.replace_status(&request.name_any(), &PostParams::default(), &request).await {
                    Ok(claimed) => {
                        context.metrics.wrote("claim");
                        if held.generated_name {
                            context.gate.claim(&claim, generated);
                        }
                        context.changes.wrote(claimed);
                        return Ok(Some("granted"));
                    }
                    Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {}
                    Err(source) => return Err(Error::Api { what: "the grant", source }),
                }
            }
        }
    }
    Err(Error::Busy)
}

/// The change must be for exactly this, and everybody who has to agree to it now must have been asked. `repeats`: its grant was
/// claimed for the very name that the server made up.
fn stands(change: &ChangeStatus, asked: &Held, repeats: bool, now: Timestamp) -> Stands {
    let Some(held) = &change.held else { return Stands::Not };
    let object = |held: &Held| {
        let Held { operation, group, resource, subresource, namespace, name, generated_name, digest, base, .. } = held;
        (*operation, [group, resource, subresource, namespace, name, digest, base].map(Clone::clone), *generated_name)
    };
    let all_asked =
        asked.processes.iter().all(|process| change.processes.iter().any(|known| known.name == process.name));
    if object(held) != object(asked) || !all_asked || change.state != ChangeState::Approved {
        return Stands::Not;
    }
    match &change.grant {
        Some(grant) if grant.used_at.is_some() => Stands::Not,
        Some(grant) => match &grant.claimed_at {
            // Under a name that the server makes up each repetition would make another object.
            Some(_) if held.generated_name && !repeats => Stands::Not,
            Some(claimed) if now.duration_since(claimed.0) <= REPEATED => Stands::Repeated,
            None if grant.valid_until.0 > now => Stands::Granted,
            _ => Stands::Not,
        },
        None => Stands::Not,
    }
}

#[cfg(test)]
mod tests {
    use super::{Stands, stands};
    use crate::api::{ChangeState, ChangeStatus, Grant, Held, PlannedProcess};
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    #[test]
    fn attack_27_an_approved_change_stands_for_exactly_what_was_approved_once() {
        let process = |name: &str| PlannedProcess { name: name.to_owned(), ..PlannedProcess::default() };
        let asked = Held {
            resource: "configmaps".to_owned(),
            name: "one".to_owned(),
            digest: "sha256:1".to_owned(),
            base: "one".to_owned(),
            processes: vec![process("check")],
            ..Held::default()
        };
        let approved = ChangeStatus {
            state: ChangeState::Approved,
            held: Some(Held { processes: Vec::new(), ..asked.clone() }),
            processes: vec![process("check")],
            grant: Some(Grant { valid_until: Time(at(1000)), claimed_at: None, used_at: None }),
            ..ChangeStatus::default()
        };
        let with = |change: fn(&mut ChangeStatus)| {
            let mut status = approved.clone();
            change(&mut status);
            stands(&status, &asked, false, at(500))
        };
        assert_eq!(with(|_| ()), Stands::Granted);
        assert_eq!(stands(&approved, &asked, false, at(1000)), Stands::Not, "not after its time");
        assert_eq!(with(|status| status.state = ChangeState::InApproval), Stands::Not);
        assert_eq!(with(|status| status.processes.clear()), Stands::Not, "somebody else has to agree now");
        assert_eq!(with(|status| status.grant = None), Stands::Not);
        let claimed = |status: &mut ChangeStatus, second| {
            status.grant.as_mut().expect("a grant").claimed_at = Some(Time(at(second)));
        };
        let mut status = approved.clone();
        claimed(&mut status, 470);
        assert_eq!(stands(&status, &asked, false, at(500)), Stands::Repeated);
        claimed(&mut status, 469);
        assert_eq!(stands(&status, &asked, false, at(500)), Stands::Not, "no call is on its way any more");
        let generated = Held { generated_name: true, ..asked.clone() };
        status.held = Some(generated.clone());
        claimed(&mut status, 500);
        assert_eq!(stands(&status, &generated, true, at(500)), Stands::Repeated, "the same name, made up once");
        assert_eq!(stands(&status, &generated, false, at(500)), Stands::Not, "another name, another object");
        for change in [
            |held: &mut Held| held.digest.push('2'),
            |held: &mut Held| held.base.push('2'),
            |held: &mut Held| held.namespace.push('2'),
            |held: &mut Held| held.subresource.push_str("scale"),
        ] {
            let mut other = asked.clone();
            change(&mut other);
            assert_eq!(stands(&approved, &other, false, at(500)), Stands::Not, "{other:?}");
        }
    }
}
