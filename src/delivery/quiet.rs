//! What happens to mail without a mail server: it waits, and the log shows it at debug level.

use super::courier::shown;
use crate::store::outbox::MAIL;
use crate::store::{self, Store};
use jiff::Timestamp;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How many messages are looked at at once.
const PAGE: usize = 64;

/// Shows mails as they come, until it is told to stop.
pub(super) async fn run(store: Store, poll: Duration, stop: CancellationToken) {
    let mut queued = store.queued();
    let mut shown = None;
    loop {
        if tracing::enabled!(tracing::Level::DEBUG)
            && let Err(error) = show(&store, &mut shown).await
        {
            tracing::warn!(%error, "mails that wait cannot be shown");
        }
        tokio::select! {
            Ok(()) = queued.changed() => {}
            () = tokio::time::sleep(poll) => {}
            () = stop.cancelled() => break,
        }
    }
}

/// Shows what was queued after what it has shown.
async fn show(store: &Store, behind: &mut Option<(Timestamp, String)>) -> Result<(), store::Error> {
    loop {
        let page = store.waiting(MAIL, behind.clone(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        *behind = Some((last.created_at, last.message.id.clone()));
        for waiting in &page {
            let message = &waiting.message;
            let (to, subject, text) = (shown(&message.to), &message.subject, &message.text);
            tracing::debug!(to, subject, text, "no mail server is configured; the mail waits");
        }
    }
}
