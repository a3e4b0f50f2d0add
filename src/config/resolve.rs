//! Merging of layers into one configuration that has been checked.

use std::path::PathBuf;

use super::access::{apply_keys, apply_rules, keys_without_rights};
use super::assignment::Assignment;
use super::check::{check, check_rule};
use super::env::Environment;
use super::error::{ConfigError, Fault, Problem};
use super::file::{ConfigFile, Layer, Rule};
use super::fleet::{FLEET_FRAME, check_login_files};
use super::key::{KeySources, read_key_file};
use super::model::{Config, LISTENERS, Secret, Secrets};
use super::option::Opt;
use super::origin::{ValueOrigin, ValueOrigins};
use super::token_keys;
use super::value::RawValue;
use crate::channel::ChannelSettings;
use crate::protocol::Keyring;
use crate::server_name::ServerName;
use crate::settings::{AdminToken, FleetSettings, OpenSockets, Settings};
use crate::tls::ClientTlsOptions;

/// The layers of a configuration, the weakest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// The path of a TOML file.
    pub(crate) file: Option<PathBuf>,
    /// The variables of the environment.
    pub(crate) environment: Environment,
    /// The options of the command line, each with the words given for it.
    pub(crate) options: Vec<(&'static Opt, Vec<String>)>,
    /// Sockets that are open already, at addresses that the options name.
    pub(crate) sockets: OpenSockets,
}

/// A configuration that has been checked as a whole.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The configuration that came out of the layers.
    pub(crate) config: Config,
    /// The origin of each value.
    pub(crate) origins: ValueOrigins,
    /// Warnings about what is allowed but probably not meant.
    pub(crate) warnings: Vec<String>,
}

/// Puts the layers together and checks the result.
///
/// # Errors
///
/// Everything that is wrong, not only the first thing.
pub(crate) fn resolve(sources: &Sources) -> Result<Resolved, ConfigError> {
    let file = match sources.file.as_deref().map(ConfigFile::read).transpose() {
        Ok(file) => file,
        Err(fault) => return only(sources, ValueOrigin::Default, fault),
    };
    resolve_with_file(sources, file.as_ref())
}

/// Puts the layers together like [`resolve`], with a file that has been read.
pub(super) fn resolve_with_file(
    sources: &Sources,
    file: Option<&ConfigFile>,
) -> Result<Resolved, ConfigError> {
    let mut problems = Vec::new();
    let root = match file.map(ConfigFile::parse).transpose() {
        Ok(root) => root,
        Err(problem) => return only(sources, problem.origin, problem.fault),
    };
    let layer = match (file, &root) {
        (Some(file), Some(root)) => file.layer(root.get_ref(), &mut problems),
        _ => Layer::default(),
    };

    let mut config = Config::default();
    let mut origins = ValueOrigins::default();
    let environment = sources.environment.assignments(&mut problems);
    let assignments = layer.assignments.into_iter().chain(environment);
    for assignment in assignments.chain(options(sources)) {
        match assignment.apply(&mut config) {
            Ok(()) => origins.set(assignment.opt, assignment.origin),
            Err(problem) => problems.push(problem),
        }
    }
    fit_defaults(&mut config, &origins);
    config.settings.channels.patterns = rules(&config, layer.rules, &mut problems);
    fit_store(&mut config, &sources.environment);
    let mut warnings = Vec::new();
    let key = key_sources(&config.secrets, &origins).resolve(&mut warnings);
    let key = key.unwrap_or_else(|problem| {
        problems.push(problem);
        None
    });
    let mut own_secret = |path: &Option<PathBuf>, option| {
        let secret = own_secret(path.as_ref(), option, &origins, &mut warnings);
        secret.unwrap_or_else(|problem| {
            problems.push(problem);
            None
        })
    };
    let link_key = own_secret(&config.secrets.peer_key_file, "peer_key_file");
    let admin_token = own_secret(&config.secrets.admin_token_file, "admin_token_file");
    check_login_files(
        &config.settings.fleet.login,
        &origins,
        &mut problems,
        &mut warnings,
    );
    config.settings.peer.keyring = link_key.map(|key| Keyring::new(Some(key.0), None));
    let token_keys = token_keys::read(&config.secrets.token_keys, &mut warnings);
    config.settings.tokens.keys = token_keys.unwrap_or_else(|fault| {
        let origin = origins.of("token_key");
        problems.push(Problem { origin, fault });
        Vec::new()
    });
    apply_keys(
        &mut config,
        layer.keys,
        key.as_ref(),
        &mut problems,
        &mut warnings,
    );
    let has_default = key.is_some() || config.secrets.addr_key.is_some();
    apply_rules(&mut config, layer.access_rules, has_default, &mut problems);
    let has_shared =
        key.is_some() || !config.secrets.keys.is_empty() || !config.settings.tokens.keys.is_empty();
    // Values that were refused have kept their defaults: checking those together would blame them.
    if problems.is_empty() {
        check(&config, has_shared, &origins, &mut problems);
    }
    ConfigError::check(problems, config.log.format)?;

    warnings.extend(what_has_no_effect(
        &config,
        key.is_some(),
        &sources.environment,
    ));
    warnings.extend(keys_without_rights(&config, has_default));
    config.settings.keyring = keyring(&config, key);
    config.settings.admin.token = admin_token.map(|token| AdminToken::new(token.0));
    config.settings.sockets = sources.sockets.clone();
    Ok(Resolved {
        config,
        origins,
        warnings,
    })
}

/// Adapts the defaults that depend on what else is set.
fn fit_defaults(config: &mut Config, origins: &ValueOrigins) {
    let is_node = config.settings.fleet.is_on();
    let (limits, websocket) = (&mut config.settings.limits, &mut config.settings.websocket);
    if is_node && !origins.is_set("max_frame") {
        limits.max_frame = FLEET_FRAME;
    }
    if !origins.is_set("ws") && LISTENERS.iter().any(|name| origins.is_set(name)) {
        websocket.listen.clear();
    }
    if !origins.is_set("ws_max_message") {
        websocket.max_message = websocket.max_message.min(limits.max_frame);
    }
}

/// Takes the directory that a service manager has made for a store that has to have one.
fn fit_store(config: &mut Config, environment: &Environment) {
    let settings = &mut config.settings;
    if settings.store.dir.is_none() && settings.channels.need_store() {
        settings.store.dir = environment.state_directory();
    }
}

/// Returns the one problem of a file that cannot be read, to be logged as the other layers ask for.
fn only(sources: &Sources, origin: ValueOrigin, fault: Fault) -> Result<Resolved, ConfigError> {
    let mut config = Config::default();
    let environment = sources.environment.assignments(&mut Vec::new());
    for assignment in environment.into_iter().chain(options(sources)) {
        // What else is wrong comes up when the file can be read.
        let _ = assignment.apply(&mut config);
    }
    Err(ConfigError {
        problems: vec![Problem { origin, fault }],
        log_format: config.log.format,
    })
}

fn options(sources: &Sources) -> impl Iterator<Item = Assignment<'_>> {
    sources.options.iter().map(|(opt, words)| Assignment {
        opt,
        raw: RawValue::words(words.iter().map(String::as_str)),
        origin: ValueOrigin::Flag(format!("--{}", opt.flag())),
    })
}

/// Returns the settings of each pattern: those of `[channel]`, as they came out of all layers, with
/// the rule's own on top.
fn rules(
    config: &Config,
    rules: Vec<Rule<'_>>,
    problems: &mut Vec<Problem>,
) -> Vec<(String, ChannelSettings)> {
    let mut seen: Vec<(&str, usize)> = Vec::new();
    let mut resolved = Vec::new();
    for rule in rules {
        if let Some((_, first)) = seen.iter().find(|(pattern, _)| *pattern == rule.pattern) {
            problems.push(Problem {
                origin: rule.origin,
                fault: Fault::SamePattern {
                    pattern: rule.pattern.to_owned(),
                    first: *first,
                },
            });
            continue;
        }
        seen.push((rule.pattern, rule.origin.line()));
        // Options of the section `channel` set the default: here, of a copy.
        let mut copy = config.clone();
        let mut origins = ValueOrigins::default();
        let mut refused = Vec::new();
        for assignment in rule.assignments {
            match assignment.apply(&mut copy) {
                Ok(()) => origins.set(assignment.opt, assignment.origin),
                Err(problem) => refused.push(problem),
            }
        }
        if refused.is_empty() && problems.is_empty() {
            check_rule(&copy, &origins, problems);
        }
        problems.append(&mut refused);
        resolved.push((rule.pattern.to_owned(), copy.settings.channels.default));
    }
    resolved
}

/// Returns the places that may hold the shared key, with the layer of each.
fn key_sources(secrets: &Secrets, origins: &ValueOrigins) -> KeySources {
    let (key, file) = (secrets.key.clone(), secrets.key_file.clone());
    KeySources {
        key: key.map(|key| (key, origins.of("key"))),
        file: file.map(|file| (file, origins.of("key_file"))),
    }
}

/// Reads a secret of the server's own from the file that `option` names, if it names one.
fn own_secret(
    path: Option<&PathBuf>,
    option: &str,
    origins: &ValueOrigins,
    warnings: &mut Vec<String>,
) -> Result<Option<Secret>, Problem> {
    let secret = path.map(|path| read_key_file(path, warnings)).transpose();
    secret.map_err(|fault| Problem {
        origin: origins.of(option),
        fault,
    })
}

fn keyring(config: &Config, key: Option<Secret>) -> Keyring {
    let addr_key = config.secrets.addr_key.clone();
    Keyring::new(key.map(|key| key.0), addr_key.map(|key| key.0))
}

fn what_has_no_effect(config: &Config, has_key: bool, environment: &Environment) -> Vec<String> {
    let mut warnings = environment.warnings();
    let has_addr_key = config.secrets.addr_key.is_some();
    if has_key && has_addr_key {
        warnings.push("addr_key has no effect: the shared key takes its place".to_owned());
    }
    let has_named = !config.secrets.keys.is_empty();
    if config.settings.allow_anonymous && (has_key || has_addr_key || has_named) {
        warnings.push("allow_anonymous has no effect: a key is set".to_owned());
    }
    if config.secrets.peer_key_file.is_some() && config.settings.peer.upstreams.is_empty() {
        warnings.push("peer_key_file has no effect: there is no upstream".to_owned());
    }
    let settings = &config.settings;
    if settings.store.dir.is_some() && !settings.channels.need_store() {
        warnings.push("store_dir has no effect: no channel has history = \"disk\"".to_owned());
    }
    let fleet = &settings.fleet;
    if !fleet.is_on() && *fleet != FleetSettings::default() {
        warnings.push("what [fleet] says has no effect: it names no servers".to_owned());
    }
    warnings.extend(tls_warnings(settings));
    if config.settings.admin.listen.is_empty() && config.secrets.admin_token_file.is_some() {
        warnings.push("admin_token_file has no effect: there is no admin listener".to_owned());
    }
    let (proxies, websocket) = (&config.settings.proxies, &config.settings.websocket);
    let has_web = !websocket.listen.is_empty() || !websocket.tls_listen.is_empty();
    if !proxies.trusted.is_empty() && proxies.protocol.is_empty() && !has_web {
        let text = "trusted_proxies has no effect: nothing listens for WebSocket, and proxy_protocol \
                    names no listener";
        warnings.push(text.to_owned());
    }
    warnings
}

fn tls_warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    let (tls, peer) = (&settings.tls, &settings.peer);
    let has_files = tls.cert.is_some() || tls.client_ca.is_some();
    if has_files && tls.listen.is_empty() && settings.websocket.tls_listen.is_empty() {
        let text = "the certificates of [tls] have no effect: nothing listens for TLS";
        warnings.push(text.to_owned());
    }
    let is_used = peer.upstreams.iter().any(ServerName::is_tls);
    if !is_used && peer.tls != ClientTlsOptions::default() {
        let text = "what [peer] says of TLS has no effect: no upstream has tls:// in front";
        warnings.push(text.to_owned());
    } else if peer.tls.insecure {
        let text = "peer_insecure: nobody checks who the upstreams are; whoever is on the way can \
                    read and change everything, and take the key";
        warnings.push(text.to_owned());
    }
    if settings.fleet.is_on() && settings.fleet.tls.insecure {
        let text = "fleet_insecure: nobody checks who the NATS servers are; whoever is on the way can read and \
                    change everything";
        warnings.push(text.to_owned());
    }
    warnings
}
