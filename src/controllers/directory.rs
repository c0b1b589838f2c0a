//! Keeps the directory's [`Snapshot`] up to date from the watches of Identities, `BusinessRoles`, Delegations and
//! `BusinessCalendars`.

use crate::api::{BusinessCalendar, BusinessRole, Delegation, Identity, is_true, seconds};
use crate::calendar::Calendar;
use crate::directory::{Snapshot, Standing};
use crate::runtime::clock::Clock;
use crate::runtime::watch::{Changes, Synced, observe};
use futures::StreamExt;
use futures::stream::BoxStream;
use kube::runtime::reflector::Store;
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use std::borrow::Borrow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The longest time to the next look at validities: an edit may have brought a nearer one.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What happens to the objects of the directory, one stream for each kind.
pub struct Streams {
    /// Of Identities.
    pub identities: BoxStream<'static, watcher::Result<Identity>>,
    /// Of roles.
    pub roles: BoxStream<'static, watcher::Result<BusinessRole>>,
    /// Of delegations.
    pub delegations: BoxStream<'static, watcher::Result<Delegation>>,
    /// Of calendars.
    pub calendars: BoxStream<'static, watcher::Result<BusinessCalendar>>,
}

/// The directory of these objects: delegations count when their principal is proven.
pub fn assemble(
    identities: &[impl Borrow<Identity>],
    roles: &[impl Borrow<BusinessRole>],
    delegations: &[impl Borrow<Delegation>],
    calendars: &[impl Borrow<BusinessCalendar>],
) -> Snapshot {
    let identities: Vec<_> =
        identities.iter().map(Borrow::borrow).map(|found: &Identity| (found.name_any(), &found.spec)).collect();
    let roles: Vec<_> =
        roles.iter().map(Borrow::borrow).map(|found: &BusinessRole| (found.name_any(), &found.spec)).collect();
    let delegations = delegations.iter().map(Borrow::borrow).filter(|found: &&Delegation| is_proven(found));
    let standing = delegations.map(|found| Standing {
        name: found.name_any(),
        uid: found.uid().unwrap_or_default(),
        created_at: found.metadata.creation_timestamp.as_ref().map_or(i64::MAX, seconds),
        spec: found.spec.clone(),
    });
    let calendars = calendars
        .iter()
        .map(Borrow::borrow)
        .map(|found: &BusinessCalendar| (found.name_any(), Calendar::compile(&found.spec)));
    Snapshot::new(
        identities.iter().map(|(name, spec)| (name.as_str(), *spec)),
        roles.iter().map(|(name, spec)| (name.as_str(), *spec)),
    )
    .with_delegations(standing)
    .with_calendars(calendars)
}

/// Whether the principal of a delegation was proven: recorded once, in a status that the operator alone writes.
#[must_use]
pub fn is_proven(delegation: &Delegation) -> bool {
    delegation.status.as_ref().is_some_and(|status| is_true(&status.conditions, PROVEN))
}

/// The condition that says so.
pub const PROVEN: &str = "Proven";

/// The directory of this moment.
pub struct Directory {
    /// Identities as they are now.
    pub identities: Store<Identity>,
    /// Roles as they are now.
    pub roles: Store<BusinessRole>,
    /// Delegations as they are now.
    pub delegations: Store<Delegation>,
    /// Calendars as they are now.
    pub calendars: Store<BusinessCalendar>,
    /// Told when anything changed, validities that begin or end included.
    pub changes: Changes,
    built: Mutex<(u64, Arc<Snapshot>)>,
}

impl Directory {
    /// Starts to watch the directory. The streams must be polled for it to be kept up to date: their controllers do.
    pub fn observe(client: &Client, synced: &Synced) -> (Self, Streams) {
        let changes = Changes::default();
        let (identities, identity_stream) = observe::<Identity>(client, &changes, synced, |_| false);
        let (roles, role_stream) = observe::<BusinessRole>(client, &changes, synced, |_| false);
        let (delegations, delegation_stream) = observe::<Delegation>(client, &changes, synced, is_proven);
        let (calendars, calendar_stream) = observe::<BusinessCalendar>(client, &changes, synced, |_| false);
        let built = Mutex::new((u64::MAX, Arc::default()));
        let streams = Streams {
            identities: identity_stream.boxed(),
            roles: role_stream.boxed(),
            delegations: delegation_stream.boxed(),
            calendars: calendar_stream.boxed(),
        };
        (Self { identities, roles, delegations, calendars, changes, built }, streams)
    }

    /// The directory as the watches have shown it so far; built anew only when something changed.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        // Read before the stores are: what changes in between is built in at the next call.
        let count = self.changes.count();
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if built.0 != count {
            let (identities, roles) = (self.identities.state(), self.roles.state());
            let (delegations, calendars) = (self.delegations.state(), self.calendars.state());
            *built = (count, Arc::new(assemble(&identities, &roles, &delegations, &calendars)));
        }
        built.1.clone()
    }

    /// Tells of validities that begin or end, for ever: nothing was edited then, and yet somebody comes or goes.
    pub async fn tell_validity_changes(&self, clock: &Clock) {
        let mut before = clock.now();
        loop {
            let next = self.snapshot().next_change(before);
            let now = clock.now();
            if next.is_some_and(|next| next <= now) {
                self.changes.announce();
            }
            before = now;
            let wait = next.and_then(|next| Duration::try_from(next.duration_since(now)).ok()).unwrap_or(LOOK_AGAIN);
            tokio::time::sleep(wait.clamp(Duration::from_millis(200), LOOK_AGAIN)).await;
        }
    }
}
