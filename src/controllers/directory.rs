//! Keeps the directory's [`Snapshot`] up to date from the watches of Identities and `BusinessRoles`.

use crate::api::{BusinessRole, Identity};
use crate::directory::Snapshot;
use crate::runtime::clock::Clock;
use crate::runtime::watch::{Changes, Synced, observe};
use futures::Stream;
use kube::runtime::reflector::Store;
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The longest time to the next look at validities: an edit may have brought a nearer one.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The directory of this moment.
pub struct Directory {
    /// Identities as they are now.
    pub identities: Store<Identity>,
    /// Roles as they are now.
    pub roles: Store<BusinessRole>,
    /// Told when anything changed, validities that begin or end included.
    pub changes: Changes,
    built: Mutex<(u64, Arc<Snapshot>)>,
}

impl Directory {
    /// Starts to watch the directory. The streams must be polled for it to be kept up to date: their controllers do.
    pub fn observe(
        client: &Client,
        synced: &Synced,
    ) -> (
        Self,
        impl Stream<Item = watcher::Result<Identity>> + Send + use<>,
        impl Stream<Item = watcher::Result<BusinessRole>> + Send + use<>,
    ) {
        let changes = Changes::default();
        let (identities, identity_stream) = observe::<Identity>(client, &changes, synced);
        let (roles, role_stream) = observe::<BusinessRole>(client, &changes, synced);
        let built = Mutex::new((u64::MAX, Arc::default()));
        (Self { identities, roles, changes, built }, identity_stream, role_stream)
    }

    /// The directory as the watches have shown it so far; built anew only when something changed.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        // Read before the stores are: what changes in between is built in at the next call.
        let count = self.changes.count();
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if built.0 != count {
            let (identities, roles) = (self.identities.state(), self.roles.state());
            let identities: Vec<_> = identities.iter().map(|identity| (identity.name_any(), &identity.spec)).collect();
            let roles: Vec<_> = roles.iter().map(|role| (role.name_any(), &role.spec)).collect();
            let snapshot = Snapshot::new(
                identities.iter().map(|(name, spec)| (name.as_str(), *spec)),
                roles.iter().map(|(name, spec)| (name.as_str(), *spec)),
            );
            *built = (count, Arc::new(snapshot));
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
