//! Limits and logs.

use std::time::Duration;

use super::{BLINK, HOUR, MILLIONS, SMALLEST_FRAME, TIB};
use crate::config::form::{Always, Count, Filter, Name, OneOf, OrWord, Place, Size, Time};
use crate::config::option::{Opt, Section};
use crate::protocol::MAX_FRAME_LEN;

pub(super) const LIMITS: &[Opt] = &[
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
        help: "Most channels at once, idle ones with history included; the longest idle makes room",
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
        help: "Most connections at once from one IPv4 address, or one /64 network of IPv6",
        field: &Always {
            place: place!(settings.limits.max_connections_per_address),
            form: Count(1..=MILLIONS),
        },
    },
    Opt {
        section: Section::Limits,
        name: "max_joining",
        help: "Most connections at once that have not joined yet; the oldest makes room",
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
        name: "frame_deadline",
        help: "Time for each further 64 KiB of a frame that has begun to come, or for its rest",
        field: &Always {
            place: place!(settings.limits.frame_deadline),
            form: Time(BLINK..=HOUR),
        },
    },
    Opt {
        section: Section::Limits,
        name: "partial_bytes",
        help: "Memory for frames of which only a part has come, over all connections; at \
               least max_frame. The first 4 KiB of each are free",
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
        help: "Most sessions kept at once whose client has closed its sending side; they are the \
               first to make room at any limit",
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
               session's channel, or its channel and uid; sender refuses all servers below",
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
