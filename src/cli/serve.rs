//! `mles serve`: runs a broker with the configuration that it is given.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use thiserror::Error;
use tokio::signal::unix::SignalKind;
use tracing_subscriber::filter::ParseError;

use super::greeting::{access, announce, farewell, upstreams};
use super::logging::{Log, say_error};
use super::open_files::OpenFilesNotice;
use super::options::ConfigOptions;
use super::reloader::Reloader;
use super::signals::Signals;
use super::{exit, inherited, open_files, service};
use crate::broker::{Broker, BrokerError, StartError};
use crate::config::{Environment, LogFormat, Resolved, Sources, ValueOrigins, resolve};
use crate::net::ListenError;
use crate::settings::{ListenerKind, Settings};
use crate::shard::storing::LAST;

/// The environment variable that names the file if no option does.
const CONFIG_VARIABLE: &str = "MLES_CONFIG";

/// Run a broker
#[derive(clap::Args, Default)]
#[command(after_help = "\
Without options, the broker serves this machine only and lets anyone on it join: on 127.0.0.1:8077, and \
for browsers on http://127.0.0.1:8076. Once a listener of any kind is given, only those given are \
opened, besides 127.0.0.1:8077 unless --listen says otherwise.

Every option can also be set in the file and in the environment: --max-frame is max_frame in [limits] \
and MLES_MAX_FRAME, --log-level is level in [log] and MLES_LOG_LEVEL. Options win over the environment, \
and the environment wins over the file. Only the file can have settings for some channels, in \
[[channel_rule]] tables: a pattern, and any keys of [channel].

A SIZE is a number of bytes or has a unit (512KiB, 64MiB, 1MB). A DURATION has a unit (500ms, 10s, 5m, \
1h).

Examples:
  mles serve
  mles serve --listen 0.0.0.0:8077 --key-file /etc/mles/key
  mles serve --tls 0.0.0.0:8443 --tls-cert fullchain.pem --tls-key privkey.pem --key-file key
  mles serve --config /etc/mles/mles.toml

Signals:
  SIGINT, SIGTERM  stop: let the clients go over --drain-period; a second one stops at once
  SIGHUP           reload: read the file, the keys and the certificates again, and put them in force without
                   ending a session that may stay; the log says what has changed and what needs a restart
  SIGUSR1          log the counters and the state of the links to upstreams

Exit codes:
  0         stopped by a signal
  1         could not start
  2         wrong arguments
  70        a part of the broker failed while it ran
  74        stopped by a signal, and the store could not take the rest of the histories
  130, 143  stopped at once by a second signal")]
pub(super) struct ServeArgs {
    /// TOML file with settings; `mles check-config` checks it [env: MLES_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    options: ConfigOptions,
}

#[derive(Debug, Error)]
enum ServeError {
    #[error("the log level cannot be used: {0}")]
    Log(#[from] ParseError),
    #[error("cannot listen to signals: {0}")]
    Signals(#[source] io::Error),
    #[error("{0}{hint}", hint = start_hint(.0))]
    Start(#[from] StartError),
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    #[error(transparent)]
    Broken(#[from] BrokerError),
}

impl ServeError {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Broken(BrokerError::Unsaved) => exit::UNSAVED,
            Self::Broken(_) => exit::BROKEN,
            _ => exit::FAILED,
        }
    }
}

pub(super) fn run(args: ServeArgs) -> ExitCode {
    let environment = Environment::of_process();
    let from_environment = environment.get(CONFIG_VARIABLE).map(PathBuf::from);
    let mut options = args.options;
    let sockets = match inherited::take(&mut options) {
        Ok(sockets) => sockets,
        Err(error) => {
            say_error(LogFormat::Human, error);
            return ExitCode::from(exit::FAILED);
        }
    };
    let sources = Sources {
        file: args.config.or(from_environment),
        environment,
        options: options.0,
        sockets,
    };
    let resolved = match resolve(&sources) {
        Ok(resolved) => resolved,
        Err(error) => {
            for problem in &error.problems {
                say_error(error.log_format, problem);
            }
            return ExitCode::from(exit::FAILED);
        }
    };
    let format = resolved.config.log.format;
    let log = match Log::start(format) {
        Ok(log) => log,
        Err(error) => {
            say_error(format, ServeError::Thread(error));
            return ExitCode::from(exit::FAILED);
        }
    };
    let _flush = log.flush_at_end();
    match serve(sources, resolved, &log) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(signal)) => ExitCode::from(exit::by_signal(signal)),
        Err(error) => {
            log.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Runs a broker until it has stopped; returns the signal if one stopped it at once.
fn serve(
    sources: Sources,
    resolved: Resolved,
    log: &Log,
) -> Result<Option<SignalKind>, ServeError> {
    let Resolved {
        config,
        origins,
        warnings,
    } = resolved;
    log.install(&config.log)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let mut room = None;
    let settings = fitted(&config.settings, &origins, &[], &mut room);

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(ServeError::Signals)?;
    // Before the broker starts, so that a signal meanwhile is not lost and does not kill.
    let signals = {
        let _context = runtime.enter();
        Signals::new().map_err(ServeError::Signals)?
    };
    let (access, upstreams) = (access(&settings), upstreams(&settings));
    let mut stop_within = settings.drain_grace.saturating_add(settings.drain_deadline);
    if settings.channels.need_store() {
        stop_within = stop_within.saturating_add(LAST);
    }
    let broker = Broker::start(settings)?;
    announce(&broker, access, &upstreams, log);

    let handle = broker.stop_handle();
    service::follow(handle.clone(), stop_within).map_err(ServeError::Thread)?;
    let reloader = Arc::new(Reloader::new(
        sources,
        handle.clone(),
        log.clone(),
        (config, room),
    ));
    let reload = reloader.clone();
    broker.set_reload(Arc::new(move || reload.reload()));
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("mles-wait".to_owned())
        .spawn(move || {
            // Nobody listens any more after a second signal.
            let _ = ended.send(broker.wait());
        })
        .map_err(ServeError::Thread)?;
    runtime.block_on(async {
        tokio::select! {
            ended = end => farewell(&ended.unwrap_or(Err(BrokerError::Panicked))?),
            signal = signals.serve(handle, reloader) => return Ok(Some(signal)),
        }
        Ok(None)
    })
}

/// Returns the settings as this process can have them, next to the listeners that it has. Says what it cannot have, but not
/// what was said before of the `room` for connections.
pub(super) fn fitted(
    settings: &Settings,
    origins: &ValueOrigins,
    open: &[(ListenerKind, SocketAddr)],
    room: &mut Option<OpenFilesNotice>,
) -> Settings {
    let mut settings = settings.clone();
    let said = open_files::make_room(&mut settings, origins.is_set("max_connections"));
    match &said {
        _ if said == *room => {}
        Some(OpenFilesNotice::Warning(text)) => tracing::warn!("{text}"),
        Some(OpenFilesNotice::Info(text)) => tracing::info!("{text}"),
        None => {}
    }
    *room = said;
    if !origins.is_set("ws") {
        leave_out_what_is_taken(&mut settings.websocket.listen, open);
    }
    settings
}

/// Drops the addresses that nobody has asked for and that cannot be had, with a warning: the broker
/// is of use without them. Those that are open are had.
fn leave_out_what_is_taken(addresses: &mut Vec<SocketAddr>, open: &[(ListenerKind, SocketAddr)]) {
    let is_open = |address| open.contains(&(ListenerKind::WebSocket, address));
    addresses.retain(|address| match TcpListener::bind(address) {
        _ if is_open(*address) => true,
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(
                "cannot listen on {address} for browsers: {error}; continuing without it (--ws \
                 chooses another address)"
            );
            false
        }
    });
}

/// Says what to do about an address that cannot be listened on.
pub(super) fn start_hint(error: &StartError) -> &'static str {
    let StartError::Listen(ListenError { source, .. }) = error else {
        return "";
    };
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            "; stop what listens there (`ss -ltnp` shows it) or choose another port \
             (--listen, --tls, --ws or --tls-ws)"
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need privileges: choose another, or grant \
             CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; this machine has no such address (`ip address` shows those it has)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_taken_is_left_out() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut addresses = vec![taken.local_addr().unwrap(), free];
        leave_out_what_is_taken(&mut addresses, &[]);
        assert_eq!(addresses, [free]);
    }
}
