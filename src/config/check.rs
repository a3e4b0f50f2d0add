//! Checks of values against each other; each is in range already.

use super::error::{Fault, Problem};
use super::listeners::check_listeners;
use super::model::Config;
use super::origin::ValueOrigins;
use crate::channel::ChannelSettings;

/// Checks a configuration as a whole.
pub(super) fn check(
    config: &Config,
    has_key: bool,
    origins: &ValueOrigins,
    problems: &mut Vec<Problem>,
) {
    let settings = &config.settings;
    let mut report = |names: &[&str], fault| {
        problems.push(Problem {
            origin: origins.last_of(names),
            fault,
        });
    };
    let (partial, frame) = (settings.limits.partial_bytes, settings.limits.max_frame);
    if partial < frame {
        report(
            &["partial_bytes", "max_frame"],
            Fault::PartialBelowFrame { partial, frame },
        );
    }
    let peer = &settings.peer;
    if peer.backoff > peer.backoff_max {
        report(
            &["peer_backoff", "peer_backoff_max"],
            Fault::BackoffOverMax {
                backoff: peer.backoff,
                max: peer.backoff_max,
            },
        );
    }
    match (&peer.tls.cert, &peer.tls.key) {
        (Some(_), None) => report(
            &["peer_client_cert"],
            Fault::half_a_pair("peer", "client_cert", "client_key"),
        ),
        (None, Some(_)) => report(
            &["peer_client_key"],
            Fault::half_a_pair("peer", "client_key", "client_cert"),
        ),
        _ => {}
    }
    check_listeners(config, has_key, origins, problems);
    check_channel(config, origins, problems);
}

/// Checks the settings of a rule, which stand in `config` as the default; `origins` has the rule's
/// own. What the rule did not touch has been checked as the default.
pub(super) fn check_rule(config: &Config, origins: &ValueOrigins, problems: &mut Vec<Problem>) {
    let before = problems.len();
    check_channel(config, origins, problems);
    let is_own = |problem: &Problem| problem.origin.line() > 0;
    let own = problems.split_off(before);
    problems.extend(own.into_iter().filter(is_own));
}

fn check_channel(config: &Config, origins: &ValueOrigins, problems: &mut Vec<Problem>) {
    let ChannelSettings {
        history_frames: frames,
        history_bytes,
        queue_bytes: queue,
        ..
    } = config.settings.channels.default;
    let frame = config.settings.limits.max_frame;
    if queue < frame {
        problems.push(Problem {
            origin: origins.last_of(&["queue_bytes", "max_frame"]),
            fault: Fault::QueueBelowFrame { queue, frame },
        });
    }
    if history_bytes == 0 && frames > 0 {
        problems.push(Problem {
            origin: origins.last_of(&["history_bytes", "history_limit"]),
            fault: Fault::HistoryWithoutBytes { frames },
        });
    }
}
