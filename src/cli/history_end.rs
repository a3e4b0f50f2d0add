//! Tells a channel's history from what is published after the join.
//!
//! v1 frames do not say which of the two they are. But servers announce joins to the members that are
//! there, in the one order of the channel. So another session joins behind the one that listens: what
//! comes before its announcement is history, or was published in the moment between the two joins. Servers
//! that do not announce joins (`announce_joins`) leave this undecided.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use super::output::say;
use crate::client::{Cid, Client, Received};
use crate::escape::escape_for_terminal;

/// The wait before the first session joins, in which the one that listens should have its place; each
/// further wait is three times as long.
const FIRST_WAIT: Duration = Duration::from_millis(10);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Most sessions that join for one channel.
const ATTEMPTS: usize = 6;

/// Finds the end of one channel's history. Dropping it ends the search.
pub(super) struct HistoryEnd {
    shared: Arc<Shared>,
    search: tokio::task::JoinHandle<()>,
}

struct Shared {
    /// The connection ids of the sessions that have joined behind.
    markers: Mutex<Vec<Cid>>,
    /// Set while the session that listens has a connection.
    is_up: AtomicBool,
    is_over: AtomicBool,
}

impl HistoryEnd {
    /// Begins to look for the end of the history of a session on `channel`, which has just joined. `client`
    /// must not reconnect.
    pub(super) fn find(client: &Client, channel: &str) -> Self {
        let shared = Arc::new(Shared {
            markers: Mutex::default(),
            is_up: AtomicBool::new(true),
            is_over: AtomicBool::new(false),
        });
        let search = search(client.clone(), channel.to_owned(), shared.clone());
        Self {
            shared,
            search: tokio::spawn(search),
        }
    }

    /// Returns `true` if a message of the session belongs to the history, or announces one of the sessions that joined
    /// behind, of which there may be more than one. To be asked of every message, in their order.
    pub(super) fn is_before(&self, message: &Received) -> bool {
        if message.is_announcement() && self.shared.is_marker(message.cid()) {
            self.shared.is_over.store(true, Ordering::Relaxed);
            return true;
        }
        !self.shared.is_over.load(Ordering::Relaxed)
    }

    /// Records whether the session has a connection.
    pub(super) fn set_up(&self, is_up: bool) {
        self.shared.is_up.store(is_up, Ordering::Relaxed);
    }
}

impl Drop for HistoryEnd {
    fn drop(&mut self) {
        self.search.abort();
    }
}

impl Shared {
    fn is_marker(&self, cid: Option<Cid>) -> bool {
        let markers = self.markers.lock().unwrap_or_else(PoisonError::into_inner);
        cid.is_some_and(|cid| markers.contains(&cid))
    }

    fn new_marker(&self) -> Cid {
        let cid = Cid(rand::random());
        let mut markers = self.markers.lock().unwrap_or_else(PoisonError::into_inner);
        markers.push(cid);
        cid
    }
}

/// Joins the channel until one of the joins has been announced to the session that listens.
async fn search(client: Client, channel: String, shared: Arc<Shared>) {
    let (mut attempts, mut wait) = (0, FIRST_WAIT);
    // It leaves when the next one has joined, or the search is over.
    let mut _joined = None;
    while attempts < ATTEMPTS {
        sleep(wait).await;
        if shared.is_over.load(Ordering::Relaxed) {
            return;
        }
        if shared.is_up.load(Ordering::Relaxed) {
            _joined = client
                .clone()
                .cid(shared.new_marker())
                .join(&channel)
                .await
                .ok();
            attempts += 1;
        }
        wait = (wait * 3).min(LONGEST_WAIT);
    }
    sleep(LONGEST_WAIT).await;
    if !shared.is_over.swap(true, Ordering::Relaxed) {
        say(format_args!(
            "mles: WARNING: the server does not tell where the history of \"{}\" ends (announce_joins); \
             messages from now on are printed",
            escape_for_terminal(channel.as_bytes())
        ));
    }
}
