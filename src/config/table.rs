//! The list of options: for each its names, its place in the configuration, and how it is written.
//!
//! Invariants: options of one section stand together, in the order of [`Section::ALL`]; ranges are
//! part of the kind, what must hold between options is not in here.
//!
//! This module must not read or check anything itself.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::model::WEBSOCKET_PORT;
use super::option::{Opt, Section};
use super::value::{
    Accessor, Addresses, Always, ConnectionId, FilePath, Integer, ListenerKinds, LogFilter, Name,
    Networks, OneOf, Optional, SecretText, Servers, Size, Switch, Time, WebOrigins,
};
use crate::broker::MAX_SHARDS;
use crate::protocol::{DEFAULT_PORT, MAX_FRAME_LEN};

/// More of anything than one machine holds; a count above it is a slip of the finger.
const MILLIONS: u64 = 100_000_000;
/// More bytes than one machine holds.
const TIB: u64 = 1 << 40;
/// From the smallest frame that a join with short names fits into to the largest of the protocol.
const FRAME: RangeInclusive<u64> = 64..=MAX_FRAME_LEN as u64;
/// No deadline is shorter: timers are not much finer.
const BLINK: Duration = Duration::from_millis(10);
const HOUR: Duration = Duration::from_secs(3600);
/// As humantime counts it: messages say "1year".
const YEAR: Duration = Duration::from_secs(31_557_600);

/// Makes [`OPTIONS`] out of rows, each with the sentence of the help above it:
///
/// ```text
/// name [as key]: place in the configuration => kind [, optional | , or "word"];
/// ```
///
/// The key in the file follows from the name, see [`Opt::key`], unless the row has one. A value that
/// may be absent is `optional`, or is called by a word then.
macro_rules! options {
    ($($section:ident { $(
        $(#[doc = $help:literal])+
        $name:ident $(as $key:ident)?: $($place:ident).+ => $kind:expr $(, $absent:ident $($word:literal)?)?;
    )+ })+) => {
        /// Everything that can be set, by section.
        pub(crate) static OPTIONS: &[Opt] = &[$($(Opt {
            section: Section::$section,
            name: stringify!($name),
            own_key: concat!($(stringify!($key))?),
            help: concat!($($help),+).trim_ascii_start(),
            field: &field!([$($place).+] $kind $(, $absent $($word)?)?),
        },)+)+];
    };
}

macro_rules! field {
    ([$($place:ident).+] $kind:expr) => {
        Always { place: place!($($place).+), kind: $kind }
    };
    ([$($place:ident).+] $kind:expr, optional) => {
        Optional { place: place!($($place).+), kind: $kind, word: None }
    };
    ([$($place:ident).+] $kind:expr, or $word:literal) => {
        Optional { place: place!($($place).+), kind: $kind, word: Some($word) }
    };
}

macro_rules! place {
    ($($place:ident).+) => {
        Accessor { get: |config| &config.$($place).+, get_mut: |config| &mut config.$($place).+ }
    };
}

options! {
    Server {
        /// Where to listen for Mles v1: ADDR:PORT, or only one of them; can be repeated, none turns
        /// it off
        listen: settings.listen => Addresses { port: Some(DEFAULT_PORT) };
        /// How many shards, each a thread of its own; auto is one for each core
        shards: settings.shards => Integer(1..=MAX_SHARDS as u64), or "auto";
        /// Bind the thread of each shard to one core
        pin: settings.pin => Switch;
        /// From this many members on, new members of a channel stay on the shard that accepted
        /// them, so that a hot channel uses every core
        spread_threshold: settings.spread_threshold => Integer(1..=MILLIONS);
        /// How long a stop may take to send what is queued
        drain_deadline: settings.drain_deadline => Time(Duration::ZERO..=HOUR);
        /// Address or network of proxies that say who their clients are: by X-Forwarded-For to
        /// WebSocket listeners, or as proxy_protocol has it; can be repeated
        trusted_proxies: settings.proxies.trusted => Networks;
        /// Listeners on which connections from trusted_proxies begin with a PROXY header, of
        /// version 1 or 2, by the option that makes them; can be repeated
        proxy_protocol: settings.proxies.protocol => ListenerKinds;
    }

    Tls {
        /// Where to listen for Mles v1 over TLS: ADDR:PORT; can be repeated, none turns it off
        tls as listen: settings.tls.listen => Addresses { port: None };
        /// Where to listen for WebSocket over TLS: ADDR:PORT; can be repeated, none turns it off
        tls_ws: settings.websocket.tls_listen => Addresses { port: None };
        /// PEM file with the certificate, followed by those of the authorities above it; it is
        /// loaded again when it changes
        tls_cert: settings.tls.cert => FilePath, optional;
        /// PEM file with the private key of the certificate, not encrypted
        tls_key: settings.tls.key => FilePath, optional;
        /// PEM file with authorities: who has no certificate from one of them cannot connect to a
        /// TLS listener
        tls_client_ca: settings.tls.client_ca => FilePath, optional;
    }

    Ws {
        /// Where to listen for WebSocket: ADDR:PORT, or only one of them; can be repeated. The
        /// default applies only while no listener of any kind is given
        ws as listen: settings.websocket.listen => Addresses { port: Some(WEBSOCKET_PORT) };
        /// Joins over WebSocket need no key, as with the reference proxy
        ws_trust: settings.websocket.trust => Switch;
        /// Origin whose pages may connect, as in https://chat.example, besides those that this
        /// server has served itself; * is any; can be repeated
        ws_origin: settings.websocket.origins => WebOrigins;
        /// Serve the page at /
        ws_page: settings.websocket.page => Switch;
        /// Largest message, put together from its fragments; at most max_frame
        ws_max_message: settings.websocket.max_message => Size(FRAME);
        /// A client that has sent nothing for this long is pinged
        ws_ping_interval: settings.websocket.ping_interval => Time(BLINK..=HOUR);
        /// The session of a client that has sent nothing for this long, answers to pings included,
        /// ends
        ws_ping_timeout: settings.websocket.ping_timeout => Time(BLINK..=HOUR);
    }

    Auth {
        /// Secret that all clients share. Others on this machine can read a command line: prefer
        /// the environment or a key file
        key: secrets.key => SecretText, optional;
        /// File that holds the shared secret, without the line end
        key_file: secrets.key_file => FilePath, optional;
        /// Secret that is mixed with the client's address, for clients that have no shared key
        addr_key: secrets.addr_key => SecretText, optional;
        /// Listen beyond this machine without a key: anyone who can reach the broker may join
        allow_anonymous: settings.allow_anonymous => Switch;
    }

    Channel {
        /// Most frames kept for members that join later; 0 keeps none
        history_limit: settings.channels.default.history_frames => Integer(0..=MILLIONS);
        /// Most memory those frames may hold
        history_bytes: settings.channels.default.history_bytes => Size(0..=TIB);
        /// Frames older than this are not replayed
        history_age: settings.channels.default.history_age => Time(BLINK..=YEAR), or "unlimited";
        /// Most memory queued for one member; at least max_frame
        queue_bytes: settings.channels.default.queue_bytes => Size(1..=TIB);
        /// Longest time a member may take nothing of what is queued for it
        write_deadline: settings.channels.default.write_deadline => Time(BLINK..=HOUR);
        /// What happens to a member that cannot keep up: it is disconnected, it loses the oldest
        /// frames, or the publishers of its channel wait for it
        slow_policy: settings.channels.default.slow_policy => OneOf::SLOW_POLICY;
        /// Send join frames without a message to the other members
        announce_joins: settings.channels.default.announce_joins => Switch;
        /// How long a channel without members keeps its history
        idle_ttl: settings.channels.default.idle_ttl => Time(Duration::ZERO..=YEAR);
    }

    Peer {
        /// Upstream server, [tls://]HOST[:PORT]: every channel with members gets a link to it; can
        /// be repeated, for servers to be tried in order
        peer as upstreams: settings.peer.upstreams => Servers;
        /// PEM file with the authorities that upstreams with tls:// in front are trusted by, in the
        /// place of those of the system
        peer_ca: settings.peer.tls.ca => FilePath, optional;
        /// Do not check who upstreams with tls:// in front are: whoever is on the way can read and
        /// change everything
        peer_insecure: settings.peer.tls.insecure => Switch;
        /// PEM file with a certificate to show to upstreams that ask for one
        peer_client_cert: settings.peer.tls.cert => FilePath, optional;
        /// PEM file with the private key of that certificate
        peer_client_key: settings.peer.tls.key => FilePath, optional;
        /// Connection id of all links, for a group of servers of which each channel needs only one
        /// to be linked; member keeps that of the member for which a link is opened
        peer_cid: settings.peer.cid => ConnectionId, or "member";
        /// Longest first wait after a link broke; it doubles with every failure, and each wait is
        /// random between nothing and that
        peer_backoff: settings.peer.backoff => Time(BLINK..=HOUR);
        /// Longest wait between two attempts
        peer_backoff_max: settings.peer.backoff_max => Time(BLINK..=HOUR);
        /// A link that has held this long starts again with the first wait when it breaks
        peer_stable_after: settings.peer.stable_after => Time(BLINK..=HOUR);
        /// How long connecting to one address of an upstream may take
        peer_connect_timeout: settings.peer.connect_timeout => Time(BLINK..=HOUR);
        /// How long the link of a channel without members is kept
        peer_linger: settings.peer.linger => Time(Duration::ZERO..=HOUR);
    }

    Limits {
        /// Largest frame, header included
        max_frame: settings.limits.max_frame => Size(FRAME);
        /// Longest uid in bytes
        max_uid: settings.limits.max_uid => Size(1..=64 << 10);
        /// Longest channel name in bytes
        max_channel_name: settings.limits.max_channel_name => Size(1..=64 << 10);
        /// Most channels at once, idle ones with history included; the longest idle makes room
        max_channels: settings.limits.max_channels => Integer(1..=MILLIONS);
        /// Most connections at once, joined or not
        max_connections: settings.limits.max_connections => Integer(1..=MILLIONS);
        /// Most connections at once from one IPv4 address, or one /64 network of IPv6
        max_connections_per_address: settings.limits.max_connections_per_address => Integer(1..=MILLIONS);
        /// Most connections at once that have not joined yet; the oldest makes room
        max_joining: settings.limits.max_joining => Integer(1..=MILLIONS);
        /// Time for a new connection to send its join frame, whole
        join_deadline: settings.limits.join_deadline => Time(BLINK..=HOUR);
        /// Time for each further 64 KiB of a frame that has begun to come, or for its rest
        frame_deadline: settings.limits.frame_deadline => Time(BLINK..=HOUR);
        /// Memory for frames of which only a part has come, over all connections; at least
        /// max_frame. The first 4 KiB of each are free
        partial_bytes: settings.limits.partial_bytes => Size(1..=TIB);
        /// Memory for the histories of all channels
        history_bytes_total: settings.limits.history_bytes_total => Size(0..=TIB);
        /// Most sessions kept at once whose client has closed its sending side; they are the first
        /// to make room at any limit
        max_half_closed: settings.limits.max_half_closed => Integer(0..=MILLIONS);
        /// How long a client may be unreachable before its session ends
        tcp_timeout: settings.limits.tcp_timeout => Time(Duration::from_secs(1)..=HOUR);
        /// TCP congestion control for clients' connections, by the kernel's name for it; auto
        /// leaves the system's choice, and takes reno for clients on this machine
        tcp_congestion: settings.limits.tcp_congestion => Name, or "auto";
        /// What is checked in frames after the join: nothing, that they name the session's channel,
        /// or its channel and uid; sender refuses all servers below
        check_names: settings.limits.check_names => OneOf::NAME_CHECK;
    }

    Log {
        /// Lines for people, or one JSON object a line
        log_format: log.format => OneOf::LOG_FORMAT;
        /// What is logged: error, warn, info, debug, trace or off, or levels by module as in
        /// warn,mles::shard=debug
        log_level: log.level => LogFilter;
    }
}
