//! The list of options: for each its names, its place in the configuration, and how it is written.
//!
//! Invariants: options of one section stand together, in the order of [`Section::ALL`]; ranges are
//! part of the kind, what must hold between options is not in here.
//!
//! This module must not read or check anything itself.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::model::{ADMIN_PORT, WEBSOCKET_PORT};
use super::option::{Applies, Opt, Section};
use super::value::{
    Accessor, Addresses, Always, ConnectionId, DirectoryPath, FilePath, FilePaths, FleetNameText,
    FleetServers, Integer, ListenerKinds, LogFilter, Name, Networks, OneOf, Optional, RateLimit,
    SecretText, Servers, Size, StoreSyncMode, Switch, Text, Time, WebOrigins,
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
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
/// As humantime counts it: messages say "1year".
const YEAR: Duration = Duration::from_secs(31_557_600);

/// Makes [`OPTIONS`] out of rows, each with the sentence of the help above it:
///
/// ```text
/// name [as key] [@restart]: place in the configuration => kind [, optional | , or "word"];
/// ```
///
/// A reload puts a new value in force, except in rows with `@restart`.
///
/// The key in the file follows from the name, see [`Opt::key`], unless the row has one. A value that
/// may be absent is `optional`, or is called by a word then.
macro_rules! options {
    ($($section:ident { $(
        $(#[doc = $help:literal])+
        $name:ident $(as $key:ident)? $(@$restart:ident)?: $($place:ident).+ => $kind:expr $(, $absent:ident $($word:literal)?)?;
    )+ })+) => {
        /// Everything that can be set, by section.
        pub(crate) static OPTIONS: &[Opt] = &[$($(Opt {
            section: Section::$section,
            name: stringify!($name),
            own_key: concat!($(stringify!($key))?),
            help: concat!($($help),+).trim_ascii_start(),
            applies: applies!($($restart)?),
            field: &field!([$($place).+] $kind $(, $absent $($word)?)?),
        },)+)+];
    };
}

macro_rules! applies {
    () => {
        Applies::AtReload
    };
    (restart) => {
        Applies::AtRestart
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
        /// Address for Mles v1: ADDR:PORT, ADDR or PORT; can be repeated, none turns it off
        listen: settings.listen => Addresses { port: Some(DEFAULT_PORT) };
        /// Number of shards, each a thread of its own; auto means one per core
        shards @restart: settings.shards => Integer(1..=MAX_SHARDS as u64), or "auto";
        /// Bind the thread of each shard to one core; for machines whose cores are reserved for the broker
        pin @restart: settings.pin => Switch;
        /// Number of members from which a channel is spread over all shards, so that a busy channel
        /// uses every core
        spread_threshold: settings.spread_threshold => Integer(1..=MILLIONS);
        /// Time for which a stop still lets new clients in, while load balancers learn that this server
        /// is not ready
        drain_grace: settings.drain_grace => Time(Duration::ZERO..=HOUR);
        /// Time over which a stop lets clients go, evenly; auto means as fast as 5,000 a second and shard
        drain_period: settings.drain_period => Time(Duration::ZERO..=HOUR), or "auto";
        /// Time that a stop may take to let clients go and to send what is queued
        drain_deadline: settings.drain_deadline => Time(Duration::ZERO..=HOUR);
        /// Address or network of a proxy to believe when it names its clients, by X-Forwarded-For or
        /// the PROXY protocol; can be repeated
        trusted_proxies: settings.proxies.trusted => Networks;
        /// Listeners on which connections from trusted_proxies begin with a PROXY header of version 1
        /// or 2; can be repeated
        proxy_protocol: settings.proxies.protocol => ListenerKinds;
    }

    Tls {
        /// Address for Mles v1 over TLS; can be repeated, none turns it off
        tls as listen: settings.tls.listen => Addresses { port: None };
        /// Address for WebSocket over TLS; can be repeated, none turns it off
        tls_ws: settings.websocket.tls_listen => Addresses { port: None };
        /// PEM file with the certificate and its intermediate certificates; reloaded when it changes
        tls_cert: settings.tls.cert => FilePath, optional;
        /// PEM file with the unencrypted private key of the certificate
        tls_key: settings.tls.key => FilePath, optional;
        /// PEM file with CA certificates; TLS clients must present a certificate from one of these CAs
        tls_client_ca: settings.tls.client_ca => FilePath, optional;
    }

    Ws {
        /// Address for WebSocket: ADDR:PORT, ADDR or PORT; can be repeated. The default applies only
        /// if no listener of any kind is given
        ws as listen: settings.websocket.listen => Addresses { port: Some(WEBSOCKET_PORT) };
        /// Let clients join over WebSocket without a key, as the reference proxy does
        ws_trust: settings.websocket.trust => Switch;
        /// Origin whose pages may connect, such as https://chat.example, besides the broker's own
        /// page; * means any; can be repeated
        ws_origin: settings.websocket.origins => WebOrigins;
        /// Serve the chat page at /
        ws_page: settings.websocket.page => Switch;
        /// Publish, read and stream channels by HTTP requests under /channels
        ws_http: settings.websocket.http => Switch;
        /// Largest message, with all its fragments; at most max_frame
        ws_max_message: settings.websocket.max_message => Size(FRAME);
        /// Ping a client that has been silent for this long
        ws_ping_interval: settings.websocket.ping_interval => Time(BLINK..=HOUR);
        /// Disconnect a client that has been silent for this long, pongs included
        ws_ping_timeout: settings.websocket.ping_timeout => Time(BLINK..=HOUR);
    }

    Auth {
        /// Secret that all clients share. Others on this machine can read a command line: prefer
        /// the environment or a key file
        key: secrets.key => SecretText, optional;
        /// File that holds the shared secret, without the line end
        key_file: secrets.key_file => FilePath, optional;
        /// Secret that is mixed with the address of a client, for clients without the shared key
        addr_key: secrets.addr_key => SecretText, optional;
        /// Listen beyond this machine without a key: anyone who can reach the broker may join
        allow_anonymous: settings.allow_anonymous => Switch;
        /// What to do about a session that publishes without the right to: disconnect it, or ignore
        /// its messages
        on_denied_publish: settings.on_denied_publish => OneOf::DENIED_PUBLISH;
    }

    Token {
        /// File with keys that verify tokens (JWT): public keys in PEM, a JWKS file, or a secret; can
        /// be repeated
        token_key as keys: secrets.token_keys => FilePaths;
        /// Issuer that every token must name (iss)
        token_issuer: settings.tokens.issuer => Text, optional;
        /// Audience that every token must name (aud); without one, tokens that name any are refused
        token_audience: settings.tokens.audience => Text, optional;
        /// Time for which a token is accepted beyond what it says, as clocks differ
        token_leeway: settings.tokens.leeway => Time(Duration::ZERO..=HOUR);
    }

    Channel {
        /// Where the history is kept: in memory, or also on disk (see [store]) for the next start
        history: settings.channels.default.history => OneOf::HISTORY_STORAGE;
        /// Number of frames kept for members that join later; 0 keeps none
        history_limit: settings.channels.default.history_frames => Integer(0..=MILLIONS);
        /// Memory for these frames
        history_bytes: settings.channels.default.history_bytes => Size(0..=TIB);
        /// Age up to which frames are replayed
        history_age: settings.channels.default.history_age => Time(BLINK..=YEAR), or "unlimited";
        /// Memory for the queue of one member; at least max_frame
        queue_bytes: settings.channels.default.queue_bytes => Size(1..=TIB);
        /// Time that a member may take to accept anything of what is queued for it
        write_deadline: settings.channels.default.write_deadline => Time(BLINK..=HOUR);
        /// What to do about a member that cannot keep up: disconnect it, drop its oldest frames, or
        /// hold the publishers of the channel back
        slow_policy: settings.channels.default.slow_policy => OneOf::SLOW_POLICY;
        /// Announce joins to the other members
        announce_joins: settings.channels.default.announce_joins => Switch;
        /// Time over which changes of members are collected before the clients that watch are told
        presence_interval: settings.channels.default.presence_interval => Time(BLINK..=MINUTE);
        /// Time that a channel without members keeps its history and its positions
        idle_ttl: settings.channels.default.idle_ttl => Time(Duration::ZERO..=YEAR);
        /// Number of idempotency keys that a channel remembers; 0 remembers none
        publishers_limit: settings.channels.default.publishers_limit => Integer(0..=MILLIONS);
        /// Time that a channel remembers an idempotency key
        publishers_age: settings.channels.default.publishers_age => Time(BLINK..=YEAR);
    }

    Store {
        /// Directory of the histories that are kept on disk; only one server can use it at a time. The
        /// default under systemd is StateDirectory=
        store_dir @restart: settings.store.dir => DirectoryPath, optional;
        /// How often what was published is written and synced, so that a crash takes no more than that;
        /// batch syncs before anything is delivered or confirmed; os leaves syncing to the system
        store_sync @restart: settings.store.sync => StoreSyncMode;
        /// Space on disk that the store may take
        store_max_bytes @restart: settings.store.max_bytes => Size(1 << 20..=1 << 50), or "unlimited";
        /// Space that the store leaves free on its disk
        store_min_free @restart: settings.store.min_free => Size(0..=1 << 50);
        /// What to do at a start about a store that is damaged: refuse to start, or set it aside under
        /// another name and begin a new one
        store_on_damage @restart: settings.store.on_damage => OneOf::ON_DAMAGE;
    }

    Peer {
        /// Upstream server, [tls://]HOST[:PORT], to link every channel with members to; can be
        /// repeated, and the servers are tried in order
        peer as upstreams @restart: settings.peer.upstreams => Servers;
        /// PEM file with the CA certificates to trust for tls:// upstreams, instead of the system's
        peer_ca @restart: settings.peer.tls.ca => FilePath, optional;
        /// Do not verify the certificates of tls:// upstreams: anyone on the network path can read and
        /// change everything
        peer_insecure @restart: settings.peer.tls.insecure => Switch;
        /// PEM file with the client certificate, for upstreams that ask for one
        peer_client_cert @restart: settings.peer.tls.cert => FilePath, optional;
        /// PEM file with the private key of the client certificate
        peer_client_key @restart: settings.peer.tls.key => FilePath, optional;
        /// File with the key that links show, if it is not the server's own
        peer_key_file @restart: secrets.peer_key_file => FilePath, optional;
        /// Connection id of all links, for a group of servers of which one at a time links a channel;
        /// member means that of the member for whom a link is opened
        peer_cid @restart: settings.peer.cid => ConnectionId, or "member";
        /// Ceiling of the first wait after a link has broken; it doubles with every failure, and each
        /// wait is random below it
        peer_backoff @restart: settings.peer.backoff => Time(BLINK..=HOUR);
        /// Ceiling of all waits between two attempts
        peer_backoff_max @restart: settings.peer.backoff_max => Time(BLINK..=HOUR);
        /// Time after which a link counts as stable: when it breaks, the waits start over
        peer_stable_after @restart: settings.peer.stable_after => Time(BLINK..=HOUR);
        /// Time that connecting to one address of an upstream may take
        peer_connect_timeout @restart: settings.peer.connect_timeout => Time(BLINK..=HOUR);
        /// Time that the link of a channel without members is kept
        peer_linger @restart: settings.peer.linger => Time(Duration::ZERO..=HOUR);
    }

    Fleet {
        /// NATS server with JetStream, [nats://|tls://]HOST[:PORT], to be a node of the fleet whose log is there;
        /// can be repeated
        fleet as servers @restart: settings.fleet.servers => FleetServers;
        /// Name of the fleet, as it was given to mles fleet init
        fleet_name @restart: settings.fleet.name => FleetNameText, optional;
        /// User to log in to NATS as
        fleet_user @restart: settings.fleet.login.user => Text, optional;
        /// File with the password of the user
        fleet_password_file @restart: settings.fleet.login.password_file => FilePath, optional;
        /// File with the token to log in with
        fleet_token_file @restart: settings.fleet.login.token_file => FilePath, optional;
        /// File with the seed of the nkey to log in with
        fleet_nkey_file @restart: settings.fleet.login.nkey_file => FilePath, optional;
        /// NATS creds file to log in with
        fleet_creds_file @restart: settings.fleet.login.creds_file => FilePath, optional;
        /// PEM file with the CA certificates to trust, instead of the system's
        fleet_ca @restart: settings.fleet.tls.ca => FilePath, optional;
        /// Do not verify the certificates of NATS servers: anyone on the network path can read and change everything
        fleet_insecure @restart: settings.fleet.tls.insecure => Switch;
        /// PEM file with the client certificate, for NATS servers that ask for one
        fleet_client_cert @restart: settings.fleet.tls.cert => FilePath, optional;
        /// PEM file with the private key of the client certificate
        fleet_client_key @restart: settings.fleet.tls.key => FilePath, optional;
        /// Time for which the log may be out of reach before this node is not ready and holds its publishers back;
        /// after three times as long it lets its clients go
        fleet_patience @restart: settings.fleet.patience => Time(Duration::from_secs(1)..=MINUTE);
    }

    Limits {
        /// Largest frame, header included
        max_frame: settings.limits.max_frame => Size(FRAME);
        /// Longest uid in bytes
        max_uid: settings.limits.max_uid => Size(1..=64 << 10);
        /// Longest channel name in bytes
        max_channel_name: settings.limits.max_channel_name => Size(1..=64 << 10);
        /// Channels at one time, including idle ones with a history; the longest idle makes room
        max_channels: settings.limits.max_channels => Integer(1..=MILLIONS);
        /// Connections at one time, joined or not
        max_connections: settings.limits.max_connections => Integer(1..=MILLIONS);
        /// Connections at one time from one IPv4 address, or from one /64 network of IPv6
        max_connections_per_address: settings.limits.max_connections_per_address => Integer(1..=MILLIONS);
        /// Connections at one time that have not joined yet; the oldest makes room
        max_joining: settings.limits.max_joining => Integer(1..=MILLIONS);
        /// Time that a new connection may take to send its whole join frame
        join_deadline: settings.limits.join_deadline => Time(BLINK..=HOUR);
        /// Time that each further 64 KiB of a frame may take once it has begun, or the rest of it
        frame_deadline: settings.limits.frame_deadline => Time(BLINK..=HOUR);
        /// Memory for incomplete frames of all connections; at least max_frame. The first 4 KiB of
        /// each are free
        partial_bytes: settings.limits.partial_bytes => Size(1..=TIB);
        /// Memory for the histories of all channels
        history_bytes_total: settings.limits.history_bytes_total => Size(0..=TIB);
        /// Half-closed sessions at one time; they are the first to make room at any limit
        max_half_closed: settings.limits.max_half_closed => Integer(0..=MILLIONS);
        /// Time that a client may be unreachable before its session ends
        tcp_timeout: settings.limits.tcp_timeout => Time(Duration::from_secs(1)..=HOUR);
        /// TCP congestion control for clients, by the kernel's name for it; auto means the system's,
        /// and reno for clients on this machine
        tcp_congestion: settings.limits.tcp_congestion => Name, or "auto";
        /// What is checked in frames after the join: nothing (off), that they name the session's
        /// channel (channel), or its channel and uid (sender). sender refuses servers
        /// below, unless a [[rule]] allows them peer
        check_names: settings.limits.check_names => OneOf::NAME_CHECK;
        /// Joins, and HTTP requests to read, from one IPv4 address or /64 network of IPv6; those over it are refused
        join_rate_per_address: settings.limits.join_rate_per_address => RateLimit, or "unlimited";
        /// Joins, and HTTP requests to read, with one key
        join_rate_per_key: settings.limits.join_rate_per_key => RateLimit, or "unlimited";
        /// Messages of one session; one over it is not read until it may go on
        publish_rate_per_session: settings.limits.publish_rate_per_session => RateLimit, or "unlimited";
        /// Messages from one IPv4 address or /64 network of IPv6
        publish_rate_per_address: settings.limits.publish_rate_per_address => RateLimit, or "unlimited";
        /// Messages of all clients with one key
        publish_rate_per_key: settings.limits.publish_rate_per_key => RateLimit, or "unlimited";
        /// Wrong keys within ban_window after which an IPv4 address or /64 network of IPv6 is banned;
        /// never this machine or trusted_proxies
        ban_after: settings.limits.bans.after => Integer(1..=MILLIONS), or "never";
        /// Time in which wrong keys add up
        ban_window: settings.limits.bans.window => Time(BLINK..=DAY);
        /// Time that a ban lasts
        ban_time: settings.limits.bans.time => Time(BLINK..=YEAR);
    }

    Admin {
        /// Address of the admin listener, for health checks, metrics and the dashboard: ADDR:PORT, ADDR or
        /// PORT; can be repeated
        admin as listen @restart: settings.admin.listen => Addresses { port: Some(ADMIN_PORT) };
        /// File that holds the token which requests to the admin listener have to show; needed beyond this
        /// machine
        admin_token_file @restart: secrets.admin_token_file => FilePath, optional;
    }

    Log {
        /// Form of the log: lines for people, or a JSON object per line
        log_format @restart: log.format => OneOf::LOG_FORMAT;
        /// Level of the log: error, warn, info, debug, trace or off, or levels by module such as
        /// warn,mles::shard=debug
        log_level: log.level => LogFilter;
    }
}
