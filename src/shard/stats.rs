//! Counters of a shard. Its own thread alone writes them, any thread may read them.
//!
//! A row of [`counters!`] or [`gauges!`] is all there is to say about a figure: its name in the log and in the library, its
//! name as a metric where that is another, its label, and its description, which is the help text of the metric.

use std::fmt;

use super::Common;
use super::counter::{Counter, CounterBy, Histogram, LoopDelay};
use super::labels::{Label, MemoryKind, RefreshFault, RefusalReason, RequestKind, Transport};
use super::limits::{LimitReached, RateReached};
use super::processor::ProcessorUse;
use super::watchdog::TurnMark;
use crate::channel::SlowReason;

/// A counter or gauge summed over shards, as a metric.
#[derive(Debug)]
pub(crate) struct Metric {
    /// Its name, without what all names begin with and counters end with.
    pub(crate) name: &'static str,
    /// The description.
    pub(crate) help: String,
    /// Name of its label, if it has one.
    pub(crate) label: Option<&'static str>,
    /// The value of the label, and the figure.
    pub(crate) samples: Vec<(&'static str, u64)>,
}

/// A figure of a shard: one number, or one for each value of a label.
trait Figure {
    /// Name of the label.
    const LABEL: Option<&'static str>;

    /// Returns the sum of its numbers.
    fn sum(&self) -> u64;

    /// Returns its numbers, each with the value of the label.
    fn samples(&self) -> Vec<(&'static str, u64)>;
}

impl Figure for Counter {
    const LABEL: Option<&'static str> = None;

    fn sum(&self) -> u64 {
        self.get()
    }

    fn samples(&self) -> Vec<(&'static str, u64)> {
        vec![("", self.get())]
    }
}

impl<L: Label> Figure for CounterBy<L> {
    const LABEL: Option<&'static str> = Some(L::NAME);

    fn sum(&self) -> u64 {
        self.get()
    }

    fn samples(&self) -> Vec<(&'static str, u64)> {
        self.values().collect()
    }
}

impl Metric {
    /// Sums a figure over the shards. `doc` is its description, as it stands in the source.
    fn sum<F: Figure>(
        name: &'static str,
        doc: &[&str],
        shards: &[ShardStats],
        figure: impl Fn(&ShardStats) -> &F,
    ) -> Self {
        let mut shards = shards.iter();
        let mut samples = shards.next().map(|first| figure(first).samples());
        for (sum, sample) in
            shards.flat_map(|shard| figure(shard).samples().into_iter().enumerate())
        {
            if let Some(samples) = &mut samples {
                samples[sum].1 = samples[sum].1.wrapping_add(sample.1);
            }
        }
        Self {
            name,
            help: doc.concat().trim().to_owned(),
            label: F::LABEL,
            samples: samples.unwrap_or_default(),
        }
    }
}

macro_rules! figure {
    () => { Counter };
    ($label:ident) => { CounterBy<$label> };
}

/// The name of a metric: that of the figure, unless it has another.
macro_rules! metric_name {
    ($name:ident) => {
        stringify!($name)
    };
    ($name:ident $metric:literal) => {
        $metric
    };
}

macro_rules! stats {
    (
        counters {
            $($(#[doc = $doc:literal])* $name:ident $(by $label:ident)? $(as $metric:literal)?,)*
        }
        gauges {
            $($(#[doc = $gauge_doc:literal])*
            $gauge:ident $(by $gauge_label:ident)? $(as $gauge_metric:literal)?,)*
        }
    ) => {
        /// The counters and gauges of one shard.
        // Two of them share no line of the cache, nor two lines that the processor fetches together.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub(crate) struct ShardStats {
            /// The turn that the shard is in.
            pub(crate) turn: TurnMark,
            /// The time that the shard gets on a processor.
            pub(crate) processor: ProcessorUse,
            /// The most work of one turn, in units of [`turn`](super::turn).
            pub(crate) longest_turn: Counter,
            /// How long a task that is ready waits for its turn.
            pub(crate) loop_delay: LoopDelay,
            /// Time since which there were always messages of other shards, in nanoseconds since the start of the
            /// broker; 0 while the shard keeps up with them.
            pub(crate) backlog_since: Counter,
            /// Time since which something has waited for the store, in nanoseconds since the start of the broker; 0 while
            /// it has everything.
            pub(crate) unsaved_since: Counter,
            /// Times from reading a run until it is queued for the members of a shard; sampled.
            pub(crate) queued: Histogram,
            /// Times from reading a run until it is written to the members of a shard that keep up; sampled.
            pub(crate) written: Histogram,
            $($(#[doc = $doc])* pub(crate) $name: figure!($($label)?),)*
            $($(#[doc = $gauge_doc])* pub(crate) $gauge: figure!($($gauge_label)?),)*
        }

        impl ShardStats {
            /// Returns the counters, summed over the shards.
            pub(crate) fn counters(shards: &[Self]) -> Vec<Metric> {
                vec![$(Metric::sum(
                    metric_name!($name $($metric)?), &[$($doc),*], shards, |shard| &shard.$name,
                ),)*]
            }

            /// Returns the gauges, summed over the shards.
            pub(crate) fn gauges(shards: &[Self]) -> Vec<Metric> {
                vec![$(Metric::sum(
                    metric_name!($gauge $($gauge_metric)?), &[$($gauge_doc),*], shards, |shard| &shard.$gauge,
                ),)*]
            }

            /// Returns all counters and gauges with their names, in a fixed order.
            pub(crate) fn entries(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [
                    ("longest_turn", self.longest_turn.get()),
                    ("stalls", self.turn.stalls()),
                    $((stringify!($name), self.$name.sum()),)*
                    $((stringify!($gauge), self.$gauge.sum()),)*
                ]
                .into_iter()
            }
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
            /// Times that a shard has not turned its loop for a second.
            pub stalls: u64,
            $($(#[doc = $doc])* pub $name: u64,)*
            $($(#[doc = $gauge_doc])* pub $gauge: u64,)*
        }

        impl Stats {
            pub(crate) fn add_shard(&mut self, shard: &ShardStats) {
                self.longest_turn = self.longest_turn.max(shard.longest_turn.get());
                self.stalls += shard.turn.stalls();
                $(self.$name += shard.$name.sum();)*
                $(self.$gauge = self.$gauge.wrapping_add(shard.$gauge.sum());)*
            }

            /// Returns all figures with their names, in a fixed order.
            pub fn entries(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [
                    ("connections", self.connections),
                    ("channels", self.channels),
                    $((stringify!($gauge), self.$gauge),)*
                    ("longest_turn", self.longest_turn),
                    ("stalls", self.stalls),
                    $((stringify!($name), self.$name),)*
                ]
                .into_iter()
            }
        }
    };
}

stats! {
    counters {
        /// Connections accepted.
        accepted,
        /// Times that accepting failed: no file descriptors or memory, or a connection that was gone
        /// again.
        accept_errors,
        /// Connections closed at once: over a limit of connections, with nobody to make room.
        turned_away by LimitReached,
        /// Sessions that joined a channel.
        joined,
        /// Connections, joins and requests that were refused.
        refused by RefusalReason,
        /// Joins refused because another live session has the connection id, or the uid.
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
        slow_disconnects by SlowReason,
        /// Sessions whose client closed its sending side, or so it seemed.
        half_closed,
        /// Sessions that gave way to a new one: half-closed ones with its connection id, those whose
        /// client was gone and has come back, and those of a link that has come again.
        replaced,
        /// Connections let go before they joined, to make room at a limit.
        joining_evicted,
        /// Half-closed sessions let go to make room at a limit.
        half_closed_evicted,
        /// Sessions ended by an operator.
        ended_by_operator,
        /// Sessions ended because they had lost their rights when the settings changed.
        rights_lost,
        /// Channels that nobody needed, freed before their time to make room for others.
        channels_evicted,
        /// Sessions that came back with a position and got everything behind it.
        resumed,
        /// Sessions that came back with a position of which not everything behind it was kept any more, and were told so.
        resumed_partly,
        /// Publishers, or idempotency keys, that channels have forgotten before their time: there were too many, or
        /// no memory.
        publishers_forgotten,
        /// Sessions closed as their node was cut off from its fleet, or the fleet's log had lost records.
        fleet_disconnects,
        /// Frames handed over to the fleet's log of which nobody knows whether they have their place.
        fleet_undecided_frames,
        /// Frames of other nodes that this one does not keep: there are too many channels.
        fleet_unkept_frames,
        /// Resync messages merged: servers below that linked up, or came back.
        resyncs,
        /// Frames in resync messages that were new, and published.
        resync_frames,
        /// Frames in resync messages that were known.
        resync_known,
        /// Frames published: those received after the join, join frames with a message, and what is new
        /// in resync messages.
        frames_in by Transport as "received_frames",
        /// Bytes of the frames published, headers included.
        bytes_in by Transport as "received_bytes",
        /// Frames queued for members: one frame for ten members counts ten.
        deliveries,
        /// Writes to sockets that took something: each may be many frames.
        writes by Transport,
        /// Bytes written from members' queues, in the form of the transport, before TLS.
        bytes_out by Transport as "sent_bytes",
        /// Frames dropped from members' queues: by the policy `drop-oldest`, or with a session that
        /// ended before it had taken them.
        dropped_frames,
        /// Frames of sessions that had lost their place in the channel.
        orphaned_frames,
        /// Times that a shard found another's mailbox full and held its own readers.
        congestions,
        /// HTTP requests, by what they ask for: publishing, reading, a stream of events, members, or anything else, such as
        /// the page or a WebSocket.
        requests by RequestKind as "http_requests",
        /// Messages without effect, as who sent them has no right to publish in the channel.
        publishes_denied,
        /// Sessions ended because they did what they have no right to.
        denied_disconnects,
        /// Tokens that have taken the place of the one before in a session.
        tokens_refreshed,
        /// Tokens that were shown in a session, and have not taken the place of the one before.
        token_refreshes_refused by RefreshFault,
        /// Sessions ended because their token had expired.
        tokens_expired,
        /// Times that something came too often: a session was not read for a while because it had published too
        /// fast, or a join or a request was refused.
        throttled by RateReached,
        /// Times that an address was banned for wrong keys.
        bans,
        /// Connections and requests refused because their address is banned.
        banned,
    }
    gauges {
        /// Sessions at this moment.
        sessions by Transport,
        /// Members at this moment whose sockets are full.
        stalled,
        /// Memory in use: for histories and remembered publishers, for incomplete frames of members and of connections
        /// that have not joined, and for the queues of members whose sockets are full.
        memory_bytes by MemoryKind,
        /// Memory that may be in use.
        memory_limit_bytes by MemoryKind,
        /// 1 for each shard that pauses its readers at this moment, because another's mailbox is full.
        congested,
    }
}

impl Stats {
    /// Returns the counters of a broker as they are now.
    pub(crate) fn of(common: &Common) -> Self {
        let mut stats = Self {
            connections: common.limiter.connections() as u64,
            channels: common.limiter.channels() as u64,
            ..Self::default()
        };
        common.stats.iter().for_each(|shard| stats.add_shard(shard));
        stats
    }
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
