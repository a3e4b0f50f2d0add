//! Counters of a shard. Its own thread alone writes them, any thread may read them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter with one writer: adding is a load and a store, without a lock prefix.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the shard's own thread may call this.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }

    /// Makes it `n` if that is more. Only the shard's own thread may call this.
    pub(crate) fn raise(&self, n: u64) {
        if n > self.get() {
            self.0.store(n, Ordering::Relaxed);
        }
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters of one shard.
        #[derive(Debug, Default)]
        pub(crate) struct ShardStats {
            pub(crate) longest_turn: Counter,
            $(pub(crate) $name: Counter,)*
        }

        /// Counters of a broker since its start, summed over all shards.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            /// Connections at this moment, joined or not.
            pub connections: u64,
            /// Channels at this moment, idle ones with history included.
            pub channels: u64,
            /// The most work that one task of a shard has done before the others had their turn, in
            /// units of about 30 ns: a delivery is one, a system call 64. 8,192 are aimed at.
            pub longest_turn: u64,
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Stats {
            pub(crate) fn add_shard(&mut self, shard: &ShardStats) {
                self.longest_turn = self.longest_turn.max(shard.longest_turn.get());
                $(self.$name += shard.$name.get();)*
            }

            /// All figures with their names, in a fixed order.
            pub fn entries(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [
                    ("connections", self.connections),
                    ("channels", self.channels),
                    ("longest_turn", self.longest_turn),
                    $((stringify!($name), self.$name),)*
                ]
                .into_iter()
            }
        }
    };
}

counters! {
    /// Connections accepted.
    accepted,
    /// Times that accepting failed: no file descriptors or memory, or a connection that was gone
    /// again.
    accept_errors,
    /// Connections closed at once: over a limit of connections, with nobody to make room.
    turned_away,
    /// Sessions that joined a channel.
    joined,
    /// Connections refused at their join: malformed, too slow, wrong key, limits.
    refused,
    /// Refused because another live session has the connection id.
    refused_duplicate,
    /// Plain connections handed to another shard at their join.
    handed_over,
    /// Sessions that are not on their channel's shard: it is hot, or they use TLS or WebSocket.
    spread,
    /// Sessions ended by their client, or by a stop.
    left,
    /// Sessions ended because of what the client sent.
    protocol_errors,
    /// Connections closed because the memory for incomplete frames was needed for those of others:
    /// theirs had stood still for longest.
    partials_evicted,
    /// Sessions ended because a frame that had begun did not go on.
    frames_overdue,
    /// Sessions ended because they could not keep up.
    slow_disconnects,
    /// Sessions whose client closed its sending side, or so it seemed.
    half_closed,
    /// Sessions that gave way to a new one: half-closed ones with its connection id, those whose
    /// client was gone and has come back, and those of a link that has come again.
    replaced,
    /// Connections let go before they joined, to make room at a limit.
    joining_evicted,
    /// Half-closed sessions let go to make room at a limit.
    half_closed_evicted,
    /// Channels that nobody needed, freed before their time to make room for others.
    channels_evicted,
    /// Sessions that came back with a position and got everything behind it.
    resumed,
    /// Sessions that came back with a position of which not everything behind it was kept any more, and were told so.
    resumed_partly,
    /// Publishers, or idempotency keys, that channels have forgotten before their time: there were too many, or
    /// no memory.
    publishers_forgotten,
    /// Resync messages merged: servers below that linked up, or came back.
    resyncs,
    /// Frames in them that were new, and published.
    resync_frames,
    /// Frames in them that were known.
    resync_known,
    /// Frames published: those received after the join, join frames with a message, and what is new
    /// in resync messages.
    frames_in,
    /// Their bytes.
    bytes_in,
    /// Frames queued for members: one frame for ten members counts ten.
    deliveries,
    /// Writes to sockets that took something: each may be many frames.
    writes,
    /// Frames dropped from members' queues: by the policy `drop-oldest`, or with a session that
    /// ended before it had taken them.
    dropped_frames,
    /// Frames of sessions that had lost their place in the channel.
    orphaned_frames,
    /// Times that a shard found another's mailbox full and held its own readers.
    congestions,
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, value)) in self.entries().enumerate() {
            let space = if i == 0 { "" } else { " " };
            write!(f, "{space}{name}={value}")?;
        }
        Ok(())
    }
}
