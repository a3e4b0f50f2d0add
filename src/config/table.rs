//! The list of options.

use std::time::Duration;

use super::form::{
    Addresses, Always, ConnectionId, Count, File, Filter, Hidden, Maybe, Name, OneOf, OrWord,
    Place, Servers, Size, Switch, Time, WebOrigins,
};
use super::option::{Opt, Section};
use super::{DEFAULT_PORT, WEBSOCKET_PORT};
use crate::broker::MAX_SHARDS;
use crate::protocol::MAX_FRAME_LEN;

/// More of anything than one machine holds; a count above it is a slip of the finger.
const MILLIONS: u64 = 100_000_000;
/// The same for sizes, in bytes.
const TIB: u64 = 1 << 40;
/// In bytes: a join frame with short names fits.
const SMALLEST_FRAME: u64 = 64;
/// No deadline is shorter: timers are not much finer.
const BLINK: Duration = Duration::from_millis(10);
const HOUR: Duration = Duration::from_secs(3600);
/// As humantime counts it: messages say "1year".
const YEAR: Duration = Duration::from_secs(31_557_600);

macro_rules! place {
    ($($path:ident).+) => {
        Place {
            get: |config| &config.$($path).+,
            get_mut: |config| &mut config.$($path).+,
        }
    };
}

/// Everything that can be set, by section.
pub(crate) static OPTIONS: &[Opt] = &[
    Opt {
        section: Section::Server,
        name: "listen",
        help: "Where to listen for Mles v1: ADDR:PORT, or only one of them; can be repeated, none turns \
               it off",
        field: &Always {
            place: place!(settings.listen),
            form: Addresses {
                port: Some(DEFAULT_PORT),
            },
        },
    },
    Opt {
        section: Section::Server,
        name: "shards",
        help: "How many shards, each a thread of its own; auto is one for each core",
        field: &OrWord {
            place: place!(settings.shards),
            form: Count(1..=MAX_SHARDS as u64),
            word: "auto",
        },
    },
    Opt {
        section: Section::Server,
        name: "pin",
        help: "Bind the thread of each shard to one core",
        field: &Always {
            place: place!(settings.pin),
            form: Switch,
        },
    },
    Opt {
        section: Section::Server,
        name: "spread_threshold",
        help: "From this many members on, new members of a channel stay on the shard that \
               accepted them, so that a hot channel uses every core",
        field: &Always {
            place: place!(settings.spread_threshold),
            form: Count(1..=MILLIONS),
        },
    },
    Opt {
        section: Section::Server,
        name: "drain_deadline",
        help: "How long a stop may take to send what is queued",
        field: &Always {
            place: place!(settings.drain_deadline),
            form: Time(Duration::ZERO..=HOUR),
        },
    },
    Opt {
        section: Section::Tls,
        name: "tls",
        help: "Where to listen for Mles v1 over TLS: ADDR:PORT; can be repeated, none turns it off",
        field: &Always {
            place: place!(settings.tls.listen),
            form: Addresses { port: None },
        },
    },
    Opt {
        section: Section::Tls,
        name: "tls_ws",
        help: "Where to listen for WebSocket over TLS: ADDR:PORT; can be repeated, none turns it off",
        field: &Always {
            place: place!(settings.websocket.tls_listen),
            form: Addresses { port: None },
        },
    },
    Opt {
        section: Section::Tls,
        name: "tls_cert",
        help: "PEM file with the certificate, followed by those of the authorities above it; it is \
               loaded again when it changes",
        field: &Maybe {
            place: place!(settings.tls.cert),
            form: File,
        },
    },
    Opt {
        section: Section::Tls,
        name: "tls_key",
        help: "PEM file with the private key of the certificate, not encrypted",
        field: &Maybe {
            place: place!(settings.tls.key),
            form: File,
        },
    },
    Opt {
        section: Section::Tls,
        name: "tls_client_ca",
        help: "PEM file with authorities: who has no certificate from one of them cannot connect to a \
               TLS listener",
        field: &Maybe {
            place: place!(settings.tls.client_ca),
            form: File,
        },
    },
    Opt {
        section: Section::Ws,
        name: "ws",
        help: "Where to listen for WebSocket: ADDR:PORT, or only one of them; can be repeated. The \
               default applies only while no listener of any kind is given",
        field: &Always {
            place: place!(settings.websocket.listen),
            form: Addresses {
                port: Some(WEBSOCKET_PORT),
            },
        },
    },
    Opt {
        section: Section::Ws,
        name: "ws_trust",
        help: "Joins over WebSocket need no key, as with the reference proxy",
        field: &Always {
            place: place!(settings.websocket.trust),
            form: Switch,
        },
    },
    Opt {
        section: Section::Ws,
        name: "ws_origin",
        help: "Origin whose pages may connect, as in https://chat.example, besides those that this \
               server has served itself; * is any; can be repeated",
        field: &Always {
            place: place!(settings.websocket.origins),
            form: WebOrigins,
        },
    },
    Opt {
        section: Section::Ws,
        name: "ws_page",
        help: "Serve the page at /",
        field: &Always {
            place: place!(settings.websocket.page),
            form: Switch,
        },
    },
    Opt {
        section: Section::Ws,
        name: "ws_max_message",
        help: "Largest message, put together from its fragments; at most max_frame",
        field: &Always {
            place: place!(settings.websocket.max_message),
            form: Size(SMALLEST_FRAME..=MAX_FRAME_LEN as u64),
        },
    },
    Opt {
        section: Section::Ws,
        name: "ws_ping_interval",
        help: "A client that has sent nothing for this long is pinged",
        field: &Always {
            place: place!(settings.websocket.ping_interval),
            form: Time(BLINK..=HOUR),
        },
    },
    Opt {
        section: Section::Ws,
        name: "ws_ping_timeout",
        help: "The session of a client that has sent nothing for this long, answers to pings \
               included, ends",
        field: &Always {
            place: place!(settings.websocket.ping_timeout),
            form: Time(BLINK..=HOUR),
        },
    },
    Opt {
        section: Section::Auth,
        name: "key",
        help: "Secret that all clients share. Others on this machine can read a command line: \
               prefer the environment or a key file",
        field: &Maybe {
            place: place!(secrets.key),
            form: Hidden,
        },
    },
    Opt {
        section: Section::Auth,
        name: "key_file",
        help: "File that holds the shared secret, without the line end",
        field: &Maybe {
            place: place!(secrets.key_file),
            form: File,
        },
    },
    Opt {
        section: Section::Auth,
        name: "addr_key",
        help: "Secret that is mixed with the client's address, for clients that have no shared key",
        field: &Maybe {
            place: place!(secrets.addr_key),
            form: Hidden,
        },
    },
    Opt {
        section: Section::Auth,
        name: "allow_anonymous",
        help: "Let anyone join, and listen beyond this machine without a key",
        field: &Always {
            place: place!(settings.allow_anonymous),
            form: Switch,
        },
    },
    Opt {
        section: Section::Channel,
        name: "history_limit",
        help: "Most frames kept for members that join later; 0 keeps none",
        field: &Always {
            place: place!(settings.channels.default.history_frames),
            form: Count(0..=MILLIONS),
        },
    },
    Opt {
        section: Section::Channel,
        name: "history_bytes",
        help: "Most memory those frames may hold",
        field: &Always {
            place: place!(settings.channels.default.history_bytes),
            form: Size(0..=TIB),
        },
    },
    Opt {
        section: Section::Channel,
        name: "history_age",
        help: "Frames older than this are not replayed",
        field: &OrWord {
            place: place!(settings.channels.default.history_age),
            form: Time(BLINK..=YEAR),
            word: "unlimited",
        },
    },
    Opt {
        section: Section::Channel,
        name: "queue_bytes",
        help: "Most memory queued for one member; at least max_frame",
        field: &Always {
            place: place!(settings.channels.default.queue_bytes),
            form: Size(1..=TIB),
        },
    },
    Opt {
        section: Section::Channel,
        name: "write_deadline",
        help: "Longest time a member may take nothing of what is queued for it",
        field: &Always {
            place: place!(settings.channels.default.write_deadline),
            form: Time(BLINK..=HOUR),
        },
    },
    Opt {
        section: Section::Channel,
        name: "slow_policy",
        help: "What happens to a member that cannot keep up: it is disconnected, it loses the \
               oldest frames, or the publishers of its channel wait for it",
        field: &Always {
            place: place!(settings.channels.default.slow_policy),
            form: OneOf::SLOW_POLICY,
        },
    },
    Opt {
        section: Section::Channel,
        name: "announce_joins",
        help: "Send join frames without a message to the other members",
        field: &Always {
            place: place!(settings.channels.default.announce_joins),
            form: Switch,
        },
    },
    Opt {
        section: Section::Channel,
        name: "idle_ttl",
        help: "How long a channel without members keeps its history",
        field: &Always {
            place: place!(settings.channels.default.idle_ttl),
            form: Time(Duration::ZERO..=YEAR),
        },
    },
    Opt {
        section: Section::Peer,
        name: "peer",
        help: "Upstream server, HOST[:PORT]: every channel with members gets a link to it; can be \
               repeated, for servers to be tried in order",
        field: &Always {
            place: place!(settings.peer.upstreams),
            form: Servers,
        },
    },
    Opt {
        section: Section::Peer,
        name: "peer_cid",
        help: "Connection id of all links, for a group of servers of which each channel needs only \
               one to be linked; member keeps that of the member for which a link is opened",
        field: &OrWord {
            place: place!(settings.peer.cid),
            form: ConnectionId,
            word: "member",
        },
    },
    Opt {
        section: Section::Peer,
        name: "peer_backoff",
        help: "Longest first wait after a link broke; it doubles with every failure, and each wait \
               is random between nothing and that",
        field: &Always {
            place: place!(settings.peer.backoff),
            form: Time(BLINK..=HOUR),
        },
    },
    Opt {
        section: Section::Peer,
        name: "peer_backoff_max",
        help: "Longest wait between two attempts",
        field: &Always {
            place: place!(settings.peer.backoff_max),
            form: Time(BLINK..=HOUR),
        },
    },
    Opt {
        section: Section::Peer,
        name: "peer_stable_after",
        help: "A link that has held this long starts again with the first wait when it breaks",
        field: &Always {
            place: place!(settings.peer.stable_after),
            form: Time(BLINK..=HOUR),
        },
    },
    Opt {
        section: Section::Peer,
        name: "peer_connect_timeout",
        help: "How long connecting to one address of an upstream may take",
        field: &Always {
            place: place!(settings.peer.connect_timeout),
            form: Time(BLINK..=HOUR),
        },
    },
    Opt {
        section: Section::Peer,
        name: "peer_linger",
        help: "How long the link of a channel without members is kept",
        field: &Always {
            place: place!(settings.peer.linger),
            form: Time(Duration::ZERO..=HOUR),
        },
    },
    Opt {
        section: Section::Limits,
        name: "max_frame",
        help: "Largest frame, header included",
        field: &Always {
            place: place!(settings.limits.max_frame),
            form: Size(SMALLEST_FRAME..=MAX_FRAME_LEN as u64),
        },
    },
    Opt {
        section: Section::Limits,
        name: "max_uid",
        help: "Longest uid in bytes",
        field: &Always {
            place: place!(settings.limits.max_uid),
            form: Size(1..=64 << 10),
        },
    },
    Opt {
        section: Section::Limits,
        name: "max_channel_name",
        help: "Longest channel name in bytes",
        field: &Always {
            place: place!(settings.limits.max_channel_name),
            form: Size(1..=64 << 10),
        },
    },
    Opt {
        section: Section::Limits,
        name: "max_channels",
        help: "Most channels at once, idle ones with history included",
        field: &Always {
            place: place!(settings.limits.max_channels),
            form: Count(1..=MILLIONS),
        },
    },
    Opt {
        section: Section::Limits,
        name: "max_connections",
        help: "Most connections at once, joined or not",
        field: &Always {
            place: place!(settings.limits.max_connections),
            form: Count(1..=MILLIONS),
        },
    },
    Opt {
        section: Section::Limits,
        name: "max_connections_per_address",
        help: "Most connections at once from one IP address",
        field: &Always {
            place: place!(settings.limits.max_connections_per_address),
            form: Count(1..=MILLIONS),
        },
    },
    Opt {
        section: Section::Limits,
        name: "max_joining",
        help: "Most connections at once that have not joined yet",
        field: &Always {
            place: place!(settings.limits.max_joining),
            form: Count(1..=MILLIONS),
        },
    },
    Opt {
        section: Section::Limits,
        name: "join_deadline",
        help: "Time for a new connection to send its join frame, whole",
        field: &Always {
            place: place!(settings.limits.join_deadline),
            form: Time(BLINK..=HOUR),
        },
    },
    Opt {
        section: Section::Limits,
        name: "partial_bytes",
        help: "Memory for frames of which only a part has come, over all connections; at \
               least max_frame",
        field: &Always {
            place: place!(settings.limits.partial_bytes),
            form: Size(1..=TIB),
        },
    },
    Opt {
        section: Section::Limits,
        name: "history_bytes_total",
        help: "Memory for the histories of all channels",
        field: &Always {
            place: place!(settings.limits.history_bytes_total),
            form: Size(0..=TIB),
        },
    },
    Opt {
        section: Section::Limits,
        name: "max_half_closed",
        help: "Most sessions kept whose client has closed its sending side",
        field: &Always {
            place: place!(settings.limits.max_half_closed),
            form: Count(0..=MILLIONS),
        },
    },
    Opt {
        section: Section::Limits,
        name: "tcp_timeout",
        help: "How long a client may be unreachable before its session ends",
        field: &Always {
            place: place!(settings.limits.tcp_timeout),
            form: Time(Duration::from_secs(1)..=HOUR),
        },
    },
    Opt {
        section: Section::Limits,
        name: "tcp_congestion",
        help: "TCP congestion control for clients' connections, by the kernel's name for it; auto \
               leaves the system's choice, and takes reno for clients on this machine",
        field: &OrWord {
            place: place!(settings.limits.tcp_congestion),
            form: Name,
            word: "auto",
        },
    },
    Opt {
        section: Section::Limits,
        name: "check_names",
        help: "What is checked in frames after the join: nothing, that they name the \
               session's channel, or its channel and uid; peer servers need off",
        field: &Always {
            place: place!(settings.limits.check_names),
            form: OneOf::NAME_CHECK,
        },
    },
    Opt {
        section: Section::Log,
        name: "log_format",
        help: "Lines for people, or one JSON object a line",
        field: &Always {
            place: place!(log.format),
            form: OneOf::LOG_FORMAT,
        },
    },
    Opt {
        section: Section::Log,
        name: "log_level",
        help: "What is logged: error, warn, info, debug, trace or off, or levels by module as \
               in warn,mles::shard=debug",
        field: &Always {
            place: place!(log.level),
            form: Filter,
        },
    },
];
