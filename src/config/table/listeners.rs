//! Where to listen, and how the broker runs.

use std::time::Duration;

use super::{BLINK, HOUR, MILLIONS, SMALLEST_FRAME};
use crate::broker::MAX_SHARDS;
use crate::config::form::{
    Addresses, Always, Count, File, Kinds, Maybe, Networks, OrWord, Place, Size, Switch, Time,
    WebOrigins,
};
use crate::config::option::{Opt, Section};
use crate::config::{DEFAULT_PORT, WEBSOCKET_PORT};
use crate::protocol::MAX_FRAME_LEN;

pub(super) const LISTENERS: &[Opt] = &[
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
        section: Section::Server,
        name: "trusted_proxies",
        help: "Address or network of proxies that say who their clients are: by X-Forwarded-For to \
               WebSocket listeners, or as proxy_protocol has it; can be repeated",
        field: &Always {
            place: place!(settings.proxies.trusted),
            form: Networks,
        },
    },
    Opt {
        section: Section::Server,
        name: "proxy_protocol",
        help: "Listeners on which connections from trusted_proxies begin with a PROXY header, of version 1 \
               or 2, by the option that makes them; can be repeated",
        field: &Always {
            place: place!(settings.proxies.protocol),
            form: Kinds,
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
];
