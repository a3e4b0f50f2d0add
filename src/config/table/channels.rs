//! Who may join, what channels are like, and what they are linked to.

use std::time::Duration;

use super::{BLINK, HOUR, MILLIONS, TIB, YEAR};
use crate::config::form::{
    Always, ConnectionId, Count, File, Hidden, Maybe, OneOf, OrWord, Place, Servers, Size, Switch,
    Time,
};
use crate::config::option::{Opt, Section};

pub(super) const CHANNELS: &[Opt] = &[
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
        help: "Upstream server, [tls://]HOST[:PORT]: every channel with members gets a link to it; can be \
               repeated, for servers to be tried in order",
        field: &Always {
            place: place!(settings.peer.upstreams),
            form: Servers,
        },
    },
    Opt {
        section: Section::Peer,
        name: "peer_ca",
        help: "PEM file with the authorities that upstreams with tls:// in front are trusted by, in the \
               place of those of the system",
        field: &Maybe {
            place: place!(settings.peer.tls.ca),
            form: File,
        },
    },
    Opt {
        section: Section::Peer,
        name: "peer_insecure",
        help: "Do not check who upstreams with tls:// in front are: whoever is on the way can read and \
               change everything",
        field: &Always {
            place: place!(settings.peer.tls.insecure),
            form: Switch,
        },
    },
    Opt {
        section: Section::Peer,
        name: "peer_client_cert",
        help: "PEM file with a certificate to show to upstreams that ask for one",
        field: &Maybe {
            place: place!(settings.peer.tls.cert),
            form: File,
        },
    },
    Opt {
        section: Section::Peer,
        name: "peer_client_key",
        help: "PEM file with the private key of that certificate",
        field: &Maybe {
            place: place!(settings.peer.tls.key),
            form: File,
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
];
