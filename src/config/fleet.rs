//! What a fleet needs, and what does not go together with one.

use std::path::{Path, PathBuf};

use super::error::{Fault, Problem};
use super::key::read_key_file;
use super::model::Config;
use super::origin::ValueOrigins;
use super::report::Report;
use crate::settings::FleetLogin;

/// Largest frame of a node unless one is set: with it, a record fits into what NATS takes by default, 1 MiB.
pub(super) const FLEET_FRAME: usize = 960 << 10;

/// Checks the settings of a fleet against each other, and against those that they exclude.
pub(super) fn check_fleet(config: &Config, report: &mut Report<'_>) {
    let settings = &config.settings;
    let fleet = &settings.fleet;
    check_login(&fleet.login, report);
    report.check_pair(
        "fleet",
        [
            ("client_cert", &fleet.tls.cert),
            ("client_key", &fleet.tls.key),
        ],
    );
    if !fleet.is_on() {
        if fleet.name.is_some() {
            report.add(&["fleet_name"], Fault::FleetWithoutServers);
        }
        return;
    }
    if fleet.name.is_none() {
        report.add(&["fleet"], Fault::FleetWithoutName);
    }
    if !settings.peer.upstreams.is_empty() {
        report.add(&["peer", "fleet"], Fault::FleetWithPeer);
    }
    if settings.channels.need_store() {
        report.add(&["history", "fleet"], Fault::FleetWithDisk);
    }
}

fn check_login(login: &FleetLogin, report: &mut Report<'_>) {
    let (user, password) = (login.user.as_ref(), login.password_file.as_ref());
    let is_set = [
        ("user", &user.map(|_| ())),
        ("password_file", &password.map(|_| ())),
    ];
    report.check_pair("fleet", is_set);
    let kinds = [
        ("fleet_user", user.is_some() || password.is_some()),
        ("fleet_token_file", login.token_file.is_some()),
        ("fleet_nkey_file", login.nkey_file.is_some()),
        ("fleet_creds_file", login.creds_file.is_some()),
    ];
    let given: Vec<_> = kinds.iter().filter(|kind| kind.1).collect();
    if given.len() > 1 {
        let names: Vec<_> = given.iter().map(|kind| kind.0).collect();
        report.add(&names, Fault::FleetLogins);
    }
}

/// Reads the files that hold secrets, so that one that cannot be used is told now and not when the node connects.
pub(super) fn check_login_files(
    login: &FleetLogin,
    origins: &ValueOrigins,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) {
    let one_line = |path: &Path, warnings: &mut _| read_key_file(path, warnings).map(drop);
    let whole = |path: &Path, _: &mut _| match std::fs::read_to_string(path) {
        Ok(_) => Ok(()),
        Err(source) => Err(Fault::CredsFile {
            path: path.to_owned(),
            source,
        }),
    };
    type Check<'a> = &'a dyn Fn(&Path, &mut Vec<String>) -> Result<(), Fault>;
    let files: [(&str, &Option<PathBuf>, Check<'_>); 4] = [
        ("fleet_password_file", &login.password_file, &one_line),
        ("fleet_token_file", &login.token_file, &one_line),
        ("fleet_nkey_file", &login.nkey_file, &one_line),
        ("fleet_creds_file", &login.creds_file, &whole),
    ];
    for (option, path, check) in files {
        let checked = path.as_deref().map(|path| check(path, warnings));
        if let Some(Err(fault)) = checked {
            let origin = origins.of(option);
            problems.push(Problem { origin, fault });
        }
    }
}
