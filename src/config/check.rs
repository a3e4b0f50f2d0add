//! Checks of values against each other; each is in range already.

use super::error::{Fault, Problem};
use super::fleet::check_fleet;
use super::listeners::check_listeners;
use super::model::Config;
use super::origin::ValueOrigins;
use super::report::Report;

/// Checks a configuration as a whole.
pub(super) fn check(
    config: &Config,
    has_key: bool,
    origins: &ValueOrigins,
    problems: &mut Vec<Problem>,
) {
    let settings = &config.settings;
    let mut report = Report { origins, problems };
    let (partial, frame) = (settings.limits.partial_bytes, settings.limits.max_frame);
    if partial < frame {
        let fault = Fault::PartialBelowFrame { partial, frame };
        report.add(&["partial_bytes", "max_frame"], fault);
    }
    let (period, deadline) = (settings.drain_period, settings.drain_deadline);
    if let Some(period) = period.filter(|period| *period > deadline) {
        let fault = Fault::PeriodOverDeadline { period, deadline };
        report.add(&["drain_period", "drain_deadline"], fault);
    }
    let (backoff, max) = (settings.peer.backoff, settings.peer.backoff_max);
    if backoff > max {
        let fault = Fault::BackoffOverMax { backoff, max };
        report.add(&["peer_backoff", "peer_backoff_max"], fault);
    }
    let tls = &settings.peer.tls;
    report.check_pair(
        "peer",
        [("client_cert", &tls.cert), ("client_key", &tls.key)],
    );
    let has_place = settings.store.dir.is_some() || settings.fleet.is_on();
    if settings.channels.need_store() && !has_place {
        report.add(&["history"], Fault::DiskWithoutStore);
    }
    check_fleet(config, &mut report);
    check_listeners(config, has_key, &mut report);
    check_channel(config, &mut report);
}

/// Checks the settings of a rule, which stand in `config` as the default; `origins` has the rule's
/// own. What the rule did not touch has been checked as the default.
pub(super) fn check_rule(config: &Config, origins: &ValueOrigins, problems: &mut Vec<Problem>) {
    let mut found = Vec::new();
    let mut report = Report {
        origins,
        problems: &mut found,
    };
    check_channel(config, &mut report);
    let is_own = |problem: &Problem| problem.origin.line() > 0;
    problems.extend(found.into_iter().filter(is_own));
}

fn check_channel(config: &Config, report: &mut Report<'_>) {
    let channel = &config.settings.channels.default;
    let (queue, frame) = (channel.queue_bytes, config.settings.limits.max_frame);
    if queue < frame {
        let fault = Fault::QueueBelowFrame { queue, frame };
        report.add(&["queue_bytes", "max_frame"], fault);
    }
    let frames = channel.history_frames;
    if channel.history_bytes == 0 && frames > 0 {
        let fault = Fault::HistoryWithoutBytes { frames };
        report.add(&["history_bytes", "history_limit"], fault);
    }
}
