//! The connection to NATS servers: which one it is, is up to the client library, which comes back by itself.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_nats::connection::State;
use async_nats::jetstream;
use async_nats::{
    Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, Request, ServerError, Subscriber,
};
use bytes::Bytes;
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::request::{parse, request_error};
use super::{PATIENCE, login, unreachable, unusable};
use crate::log::LogError;
use crate::settings::{FleetServer, FleetSettings};

/// Time that the first connection may take, over all servers.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest pause between two attempts to come back.
const MAX_PAUSE: Duration = Duration::from_millis(500);
/// A server that does not answer three of the pings that go out this often is given up for another.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// What all requests to JetStream begin with.
const API: &str = "$JS.API";

/// A connection to one of the servers.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    client: Client,
    /// Publishes to streams and reads them, over that connection.
    pub(super) context: jetstream::Context,
    events: Arc<Events>,
    /// Who this is, for those who look at the servers.
    pub(super) label: Arc<str>,
}

/// What the client library tells of the connection.
#[derive(Debug, Default)]
struct Events {
    /// How often the connection broke.
    breaks: watch::Sender<u64>,
    /// What a server has refused last, and when. It is told apart from the request that it refuses.
    refused: ArcSwapOption<(Instant, String)>,
    /// Why the last attempt to come back failed.
    failed: ArcSwapOption<String>,
}

impl Events {
    fn take(&self, event: Event) {
        match event {
            Event::Disconnected | Event::Closed => {
                self.breaks.send_modify(|breaks| *breaks += 1);
                tracing::warn!("the connection to NATS broke");
            }
            Event::Connected => {
                self.failed.store(None);
                tracing::info!("connected to NATS");
            }
            Event::ServerError(ServerError::Other(text)) => {
                tracing::warn!("NATS refuses: {text}");
                self.refused.store(Some(Arc::new((Instant::now(), text))));
            }
            Event::ClientError(error) => {
                tracing::debug!("NATS: {error}");
                self.failed.store(Some(Arc::new(error.to_string())));
            }
            other => tracing::warn!("NATS: {other}"),
        }
    }
}

impl Connection {
    /// Connects to one of the servers.
    pub(super) async fn open(settings: &FleetSettings) -> Result<Self, LogError> {
        let (events, label) = (Arc::new(Events::default()), label());
        let options = options(settings, &events, &label)?;
        let servers: Vec<_> = settings
            .servers
            .iter()
            .map(FleetServer::to_string)
            .collect();
        let attempt = options.connect(servers.as_slice());
        let client = match timeout(CONNECT_TIMEOUT, attempt).await {
            Ok(client) => client.map_err(|error| connect_error(&error, &servers))?,
            Err(_) => {
                let text = format!(
                    "no answer from {} within {CONNECT_TIMEOUT:?}",
                    servers.join(", ")
                );
                return Err(unreachable(text));
            }
        };
        let connection = Self {
            context: jetstream::new(client.clone()),
            client,
            events,
            label: label.into(),
        };
        connection.check_version()?;
        Ok(connection)
    }

    fn check_version(&self) -> Result<(), LogError> {
        if self.client.is_server_compatible(2, 11, 0) {
            return Ok(());
        }
        let version = self.version();
        let text = format!("nats-server {version} is too old: a fleet needs 2.11 or later");
        Err(unusable(text))
    }

    /// Returns the version of the server that it is connected to.
    pub(super) fn version(&self) -> String {
        self.client.server_info().version
    }

    /// Returns the bytes that a message may have there.
    pub(super) fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    /// Returns `true` while there is a connection.
    pub(super) fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Returns a counter of the times that the connection broke.
    pub(super) fn breaks(&self) -> watch::Receiver<u64> {
        self.events.breaks.subscribe()
    }

    /// Returns a subject of its own, and what comes there.
    pub(super) async fn inbox(&self) -> Result<(String, Subscriber), LogError> {
        let subject = self.client.new_inbox();
        let subscriber = timeout(PATIENCE, self.client.subscribe(subject.clone())).await;
        let subscriber = subscriber.map_err(|_| self.silent())?;
        let subscriber = subscriber.map_err(|error| unreachable(error.to_string()))?;
        Ok((subject, subscriber))
    }

    /// Sends nothing to a subject that a server waits for something on.
    pub(super) async fn reply(&self, subject: async_nats::Subject) -> Result<(), LogError> {
        let sent = self.client.publish(subject, Bytes::new());
        match timeout(PATIENCE, sent).await {
            Ok(sent) => sent.map_err(|error| unreachable(error.to_string())),
            Err(_) => Err(self.silent()),
        }
    }

    /// Asks JetStream something.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        subject: &str,
        question: &impl Serialize,
    ) -> Result<T, LogError> {
        self.ask_within(subject, question, PATIENCE).await
    }

    /// Asks JetStream something that may take longer.
    pub(super) async fn ask_within<T: DeserializeOwned>(
        &self,
        subject: &str,
        question: &impl Serialize,
        patience: Duration,
    ) -> Result<T, LogError> {
        let question = serde_json::to_vec(question).map_err(|error| unusable(error.to_string()))?;
        let request = Request::new().payload(question.into());
        let answer = self.send(format!("{API}.{subject}"), request, patience);
        parse(&answer.await?)
    }

    /// Sends a request, and waits for the answer. What is sent while there is no connection would go out when there is one
    /// again, however late: so nothing is.
    pub(super) async fn send(
        &self,
        subject: String,
        request: Request,
        patience: Duration,
    ) -> Result<Bytes, LogError> {
        let began = Instant::now();
        let request = request.timeout(Some(patience));
        let exchange = async {
            while !self.is_up() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            self.client.send_request(subject, request).await
        };
        let denied = || {
            let refused = self.events.refused.load_full()?;
            (refused.0 >= began).then(|| unusable(format!("no permission at NATS: {}", refused.1)))
        };
        match timeout(patience, exchange).await {
            Ok(Ok(answer)) => Ok(answer.payload),
            Ok(Err(error)) => Err(denied().unwrap_or_else(|| request_error(&error))),
            Err(_) => Err(denied().unwrap_or_else(|| self.silent())),
        }
    }

    /// Returns the error for what nobody has answered in time.
    fn silent(&self) -> LogError {
        if self.is_up() {
            return unreachable(format!("no answer from NATS within {PATIENCE:?}"));
        }
        match self.events.failed.load_full() {
            Some(why) => unreachable(format!("no connection to NATS: {why}")),
            None => unreachable("no connection to NATS"),
        }
    }
}

fn options(
    settings: &FleetSettings,
    events: &Arc<Events>,
    label: &str,
) -> Result<ConnectOptions, LogError> {
    let (login, events) = (settings.login.clone(), events.clone());
    let mut options = ConnectOptions::with_auth_callback(move |nonce| {
        let answer = login::answer(&login, &nonce);
        async move { answer }
    })
    .name(label)
    .connection_timeout(PATIENCE)
    .request_timeout(Some(PATIENCE))
    .ping_interval(PING_INTERVAL)
    .reconnect_delay_callback(|attempts| {
        let doubled = 1_u64 << attempts.saturating_sub(1).min(16);
        let pause = Duration::from_millis(10 * doubled).min(MAX_PAUSE);
        if attempts <= 1 { Duration::ZERO } else { pause }
    })
    .event_callback(move |event| {
        events.take(event);
        async {}
    });
    let tls = settings.client_tls();
    let tls = tls.map_err(|error| unusable(error.to_string()))?;
    if let Some(tls) = tls {
        let mut config = ClientConfig::clone(tls.config());
        config.alpn_protocols.clear();
        options = options.tls_client_config(config).require_tls(true);
    }
    Ok(options)
}

/// Returns the name of this node for those who look at the servers.
fn label() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let host = if host.is_empty() { "?" } else { host };
    format!("mles {host} {}", std::process::id())
}

/// Says why there is no connection, in one line.
fn connect_error(error: &ConnectError, servers: &[String]) -> LogError {
    let servers = servers.join(", ");
    let source = std::error::Error::source(error).map(ToString::to_string);
    let why = source.unwrap_or_default();
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation => {
            unusable(format!("{servers}: wrong login, or none"))
        }
        ConnectErrorKind::Authentication => {
            let bare = why.strip_prefix("AuthError(");
            let bare = bare.and_then(|rest| rest.strip_suffix(')'));
            let why = bare.unwrap_or(&why);
            unusable(format!("{servers}: {why}"))
        }
        ConnectErrorKind::Tls => unusable(format!("{servers}: TLS failed: {}", root(error))),
        ConnectErrorKind::TimedOut => {
            unreachable(format!("no answer from {servers} within {PATIENCE:?}"))
        }
        _ => unreachable(format!("cannot connect to {servers}: {}", root(error))),
    }
}

/// Returns the innermost reason of an error.
fn root(error: &ConnectError) -> String {
    let mut reason: &dyn std::error::Error = error;
    loop {
        let inner = reason
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        let next = match inner {
            Some(inner) => Some(inner as &dyn std::error::Error),
            None => reason.source(),
        };
        match next {
            Some(next) => reason = next,
            None => return reason.to_string(),
        }
    }
}
