//! Settings of a broker: checked values only, whatever file or option they came from.

mod fleet;
mod store;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::access::{AccessRule, NamedKey, TokenKey};
use crate::channel::ChannelRules;
use crate::network::Network;
use crate::protocol::{Cid, Keyring, MAX_FRAME_LEN};
use crate::rate::Rate;
use crate::server_name::ServerName;
use crate::tls::{ClientTls, ClientTlsOptions, TlsError};
pub use fleet::{BadFleetName, BadFleetServer, FleetLogin, FleetName, FleetServer, FleetSettings};
pub use store::{OnDamage, StoreSettings, StoreSync};

/// The check of frames after the join, beyond magic and length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameCheck {
    /// Not at all, as the protocol has it.
    #[default]
    Off,
    /// The body must decode and name the session's channel.
    Channel,
    /// The body must decode and name the session's channel and uid. Servers below forward frames of many uids over one
    /// session: they are refused, unless a rule permits them [`PEER`](crate::Permissions::PEER).
    Sender,
}

/// Reaction to a session that publishes without the right to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeniedPublish {
    /// It ends, and its client is told why if that can be told.
    #[default]
    Disconnect,
    /// Its messages are ignored, and counted.
    Ignore,
}

/// Limits on connections; one set for all listeners of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest frame in bytes, header included.
    pub max_frame: usize,
    /// Longest uid in bytes.
    pub max_uid: usize,
    /// Longest channel name in bytes.
    pub max_channel_name: usize,
    /// Most channels that exist at once. One that nobody needs makes room for a new one.
    pub max_channels: usize,
    /// Most connections at once, joined or not. Where it is reached, half-closed sessions and
    /// connections that do not join make room.
    pub max_connections: usize,
    /// Most connections at once from one IPv4 address, or one /64 network of IPv6.
    pub max_connections_per_address: usize,
    /// Most connections at once that have not joined yet. The oldest makes room for a new one, and
    /// first that of an address with more than a quarter of them.
    pub max_joining: usize,
    /// Total time for a new connection to send its join frame.
    pub join_deadline: Duration,
    /// Time for each further 64 KiB of a frame, or a message over WebSocket, that has begun to come,
    /// or for its rest.
    pub frame_deadline: Duration,
    /// Memory in bytes, over all connections, for frames of which more than 4 KiB, but not all, has
    /// come: half of it for members, half for connections that have not joined, divided evenly among
    /// the shards. A shard always has enough for two frames of the largest size. When its part is used
    /// up, the connection whose frame has stood still for longest makes room.
    pub partial_bytes: usize,
    /// Memory in bytes for the histories of all channels, divided evenly among the shards. When a
    /// shard's part is used up, a channel that is published to gives up its oldest frames, and idle
    /// channels are freed before their time.
    pub history_bytes_total: usize,
    /// Most sessions at once whose client has closed its sending side; the oldest are let go first.
    pub max_half_closed: usize,
    /// Longest time that a client may be unreachable before its session ends. Sets TCP keepalive and
    /// `TCP_USER_TIMEOUT`.
    pub tcp_timeout: Duration,
    /// TCP congestion control of clients' connections, by the name the kernel gives it (Linux).
    /// `None` leaves the system's choice, except for clients on this machine: those use `reno`.
    pub tcp_congestion: Option<String>,
    /// The check of names in frames after the join.
    pub check_names: NameCheck,
    /// Joins, and requests to read over HTTP, from one IPv4 address, or one /64 network of IPv6. Those that are over it
    /// are refused. `None` is no limit, here and in what follows.
    pub join_rate_per_address: Option<Rate>,
    /// Joins, and requests to read over HTTP, with one key.
    pub join_rate_per_key: Option<Rate>,
    /// Messages of one session. One that is over it is not read until it may go on; a request to publish over HTTP is
    /// refused.
    pub publish_rate_per_session: Option<Rate>,
    /// Messages from one IPv4 address, or one /64 network of IPv6.
    pub publish_rate_per_address: Option<Rate>,
    /// Messages of all clients with one key.
    pub publish_rate_per_key: Option<Rate>,
    /// Bans for wrong keys.
    pub bans: BanSettings,
}

/// Bans of addresses from which too many wrong keys come. Addresses of this machine and of trusted proxies are never
/// banned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BanSettings {
    /// The number of wrong keys within `window` that bans an IPv4 address, or a /64 network of IPv6. `None` never does.
    pub after: Option<usize>,
    /// The time in which wrong keys add up, from the first on.
    pub window: Duration,
    /// The time that a ban lasts.
    pub time: Duration,
}

impl Default for BanSettings {
    fn default() -> Self {
        Self {
            after: None,
            window: Duration::from_secs(60),
            time: Duration::from_secs(600),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_frame: MAX_FRAME_LEN,
            max_uid: 512,
            max_channel_name: 512,
            max_channels: 100_000,
            max_connections: 100_000,
            max_connections_per_address: 10_000,
            max_joining: 4096,
            join_deadline: Duration::from_secs(5),
            frame_deadline: Duration::from_secs(10),
            partial_bytes: 256 << 20,
            history_bytes_total: 1 << 30,
            max_half_closed: 1024,
            tcp_timeout: Duration::from_secs(10),
            tcp_congestion: None,
            check_names: NameCheck::Off,
            join_rate_per_address: None,
            join_rate_per_key: None,
            publish_rate_per_session: None,
            publish_rate_per_address: None,
            publish_rate_per_key: None,
            bans: BanSettings::default(),
        }
    }
}

/// Upstream servers, and the behaviour of links to them. Without an upstream there are no links.
///
/// A link is a session with an upstream server for one channel. There is one for each channel that
/// has members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSettings {
    /// Tried in order; the first that takes a link keeps it until the link breaks. Those whose
    /// names begin with `tls://` are talked to over TLS.
    pub upstreams: Vec<ServerName>,
    /// TLS to upstreams: the authorities to trust, and the certificate to show.
    pub tls: ClientTlsOptions,
    /// The secrets that links show; `None` takes [`Settings::keyring`].
    pub keyring: Option<Keyring>,
    /// The connection id of all links; `None` keeps that of the member for which a link was opened.
    /// Of the servers with one static id, each channel has a link from one only: a group whose
    /// other servers stand by.
    pub cid: Option<Cid>,
    /// The ceiling of the first wait after a link broke or could not be had; it doubles with every
    /// failure. Each wait is random between nothing and its ceiling ("full jitter").
    pub backoff: Duration,
    /// The highest ceiling.
    pub backoff_max: Duration,
    /// A link that has held for this long is stable: the next wait is a short one again.
    pub stable_after: Duration,
    /// Longest time that connecting to one address may take.
    pub connect_timeout: Duration,
    /// The time that the link of a channel without members is kept.
    pub linger: Duration,
}

impl Default for PeerSettings {
    fn default() -> Self {
        Self {
            upstreams: Vec::new(),
            tls: ClientTlsOptions::default(),
            keyring: None,
            cid: None,
            backoff: Duration::from_millis(200),
            backoff_max: Duration::from_secs(30),
            stable_after: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            linger: Duration::from_secs(5),
        }
    }
}

impl PeerSettings {
    /// Loads the configuration of TLS for links; `None` when no upstream needs it. Reads files.
    pub(crate) fn client_tls(&self) -> Result<Option<ClientTls>, TlsError> {
        let needs_tls = self.upstreams.iter().any(ServerName::is_tls);
        let tls = needs_tls.then(|| ClientTls::new(self.tls.clone()));
        tls.transpose()
    }
}

/// Listeners for Mles v1 over TLS, and the certificate of all TLS listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Addresses to listen on for Mles v1 over TLS; port 0 lets the system choose.
    pub listen: Vec<SocketAddr>,
    /// A PEM file with the server's certificate, followed by those of the authorities between it
    /// and one that clients know. Needed as soon as there is a TLS listener.
    pub cert: Option<PathBuf>,
    /// A PEM file with the certificate's private key, not encrypted.
    pub key: Option<PathBuf>,
    /// A PEM file with the authorities that clients' certificates may come from. When it is set,
    /// who has no such certificate cannot connect to a TLS listener.
    pub client_ca: Option<PathBuf>,
}

/// Listeners for WebSocket, and the behaviour of their sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocketSettings {
    /// Addresses to listen on for WebSocket; port 0 lets the system choose.
    pub listen: Vec<SocketAddr>,
    /// Addresses to listen on for WebSocket over TLS, with the certificate of [`TlsSettings`].
    pub tls_listen: Vec<SocketAddr>,
    /// Let anyone join over WebSocket without a key, as with the reference proxy, which knows the key
    /// in the place of its clients.
    pub trust: bool,
    /// Origins whose pages may connect, besides those that this server has served itself: `*` is
    /// any. Clients that are no browsers name none and are not held up.
    pub origins: Vec<String>,
    /// Serve the page at `/`.
    pub page: bool,
    /// Serve channels over HTTP under `/channels`: publishing, reading what was published, and event streams.
    pub http: bool,
    /// Largest message in bytes, put together from its fragments. Where it is larger than
    /// [`Limits::max_frame`], that counts.
    pub max_message: usize,
    /// A client that has sent nothing for this long is pinged. Event streams get a comment as often, and at least every
    /// 15 seconds.
    pub ping_interval: Duration,
    /// The session of a client that has sent nothing for this long, answers to pings included, ends.
    pub ping_timeout: Duration,
}

impl Default for WebSocketSettings {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            tls_listen: Vec::new(),
            trust: false,
            origins: Vec::new(),
            page: true,
            http: true,
            max_message: 16 << 20,
            ping_interval: Duration::from_secs(24),
            ping_timeout: Duration::from_secs(72),
        }
    }
}

/// Tokens (JWT) that clients may show in the place of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    /// Keys that tokens may be signed with. Without any, no token is accepted.
    pub keys: Vec<TokenKey>,
    /// The issuer that every token must name (`iss`); `None` accepts tokens from any.
    pub issuer: Option<String>,
    /// The audience that every token must name (`aud`). With `None`, tokens that name one are refused.
    pub audience: Option<String>,
    /// The most by which clocks may differ: a token is accepted for this much longer, and earlier, than it says.
    pub leeway: Duration,
}

impl Default for TokenSettings {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            issuer: None,
            audience: None,
            leeway: Duration::from_secs(30),
        }
    }
}

/// The protocol of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenerKind {
    /// Mles v1 over TCP.
    Mles,
    /// Mles v1 over TLS.
    MlesTls,
    /// WebSocket.
    WebSocket,
    /// WebSocket over TLS.
    WebSocketTls,
}

impl std::fmt::Display for ListenerKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Mles => "TCP",
            Self::MlesTls => "TLS",
            Self::WebSocket => "WebSocket",
            Self::WebSocketTls => "WebSocket over TLS",
        })
    }
}

impl ListenerKind {
    /// Returns `true` if what comes in begins with HTTP.
    pub(crate) const fn is_web(self) -> bool {
        matches!(self, Self::WebSocket | Self::WebSocketTls)
    }
}

/// Proxies in front of the listeners, which say who their clients are.
///
/// The client's address is what limits count, what the log has, and what address keys are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxySettings {
    /// Networks of the proxies that are believed. On listeners for WebSocket, their `X-Forwarded-For`
    /// counts.
    pub trusted: Vec<Network>,
    /// Listeners on which a connection from `trusted` has to begin with a header of the PROXY
    /// protocol, version 1 or 2. Connections from elsewhere must not.
    pub protocol: Vec<ListenerKind>,
}

impl ProxySettings {
    /// Returns `true` if what comes from that address is believed about its clients.
    pub(crate) fn trusts(&self, ip: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(ip))
    }

    /// Returns `true` if connections from that address begin with a PROXY header.
    pub(crate) fn expects_header(&self, kind: ListenerKind, ip: IpAddr) -> bool {
        self.protocol.contains(&kind) && self.trusts(ip)
    }

    /// Returns `true` if a connection from that address may tell that its client has another.
    pub(crate) fn may_name_client(&self, kind: ListenerKind, ip: IpAddr) -> bool {
        (kind.is_web() || self.protocol.contains(&kind)) && self.trusts(ip)
    }
}

/// The admin listener: health, metrics, views, actions and the dashboard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminSettings {
    /// Addresses to listen on; port 0 lets the system choose. Beyond loopback a token is needed.
    pub listen: Vec<SocketAddr>,
    /// The token that requests have to show. Without one, everyone on this machine may ask.
    pub token: Option<AdminToken>,
}

/// A token for the admin listener. `Debug` never shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken(String);

impl AdminToken {
    /// Creates the token that is shown as `Authorization: Bearer TOKEN`.
    #[must_use]
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Listening sockets for TCP that are open before a broker is started, such as those that a service manager passes on.
///
/// They stay open for as long as any copy of this.
#[derive(Clone, Default)]
pub struct OpenSockets(Arc<[TcpListener]>);

impl OpenSockets {
    /// Returns the socket on `address`, if there is one.
    pub(crate) fn at(&self, address: SocketAddr) -> Option<&TcpListener> {
        let is_at = |socket: &&TcpListener| socket.local_addr().ok() == Some(address);
        self.0.iter().find(is_at)
    }
}

impl From<Vec<TcpListener>> for OpenSockets {
    fn from(sockets: Vec<TcpListener>) -> Self {
        Self(sockets.into())
    }
}

impl PartialEq for OpenSockets {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.is_empty() && other.0.is_empty())
    }
}

impl Eq for OpenSockets {}

impl fmt::Debug for OpenSockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sockets", self.0.len())
    }
}

/// Everything a broker needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Addresses to listen on for Mles v1 over TCP; port 0 lets the system choose.
    pub listen: Vec<SocketAddr>,
    /// Sockets that are open already: a listener on the address of one of them takes it, on all shards.
    pub sockets: OpenSockets,
    /// The number of shards; `None` is one for each core that this process may use.
    pub shards: Option<usize>,
    /// Bind each shard's thread to one core. Only where the cores are reserved for the broker: next to another
    /// busy program a thread that may not move waits for its core.
    pub pin: bool,
    /// The key named `default`, or what keys are made from clients' addresses with. Joins are checked with it and with
    /// [`keys`](Self::keys), and links to upstreams show it unless they have one of their own.
    pub keyring: Keyring,
    /// Further keys that joins are checked with, each with a name of its own.
    pub keys: Vec<NamedKey>,
    /// Rules for what each key permits in which channel. Without rules, whoever may join may do everything.
    pub rules: Vec<AccessRule>,
    /// Reaction to a session that publishes without the right to.
    pub on_denied_publish: DeniedPublish,
    /// Tokens that clients may show in the place of a key.
    pub tokens: TokenSettings,
    /// Listen beyond loopback even without a secret: then anyone who can reach the broker may join.
    pub allow_anonymous: bool,
    /// From this many members on, new members of a channel stay on the shard that accepted them.
    pub spread_threshold: usize,
    /// Time from the beginning of a stop for which new clients are still let in, while load balancers learn that this
    /// server is not ready any more.
    pub drain_grace: Duration,
    /// Time over which a stop lets clients go, evenly. `None` lets 5,000 connections go per second and shard, or more if
    /// half of `drain_deadline` needs that.
    pub drain_period: Option<Duration>,
    /// Longest time that a stop may take from there on to send what is queued.
    pub drain_deadline: Duration,
    /// Settings of channels: the default, and rules by the channel's name.
    pub channels: ChannelRules,
    /// The store of channels that keep their history on disk.
    pub store: StoreSettings,
    /// Limits on connections, for all listeners together.
    pub limits: Limits,
    /// Upstream servers, and the links to them.
    pub peer: PeerSettings,
    /// The fleet that this broker is a node of.
    pub fleet: FleetSettings,
    /// Listeners for Mles v1 over TLS, and the certificate of all TLS listeners.
    pub tls: TlsSettings,
    /// Listeners for WebSocket, and the behaviour of their sessions.
    pub websocket: WebSocketSettings,
    /// Proxies in front of the listeners.
    pub proxies: ProxySettings,
    /// The admin listener.
    pub admin: AdminSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 8077))],
            sockets: OpenSockets::default(),
            shards: None,
            pin: false,
            keyring: Keyring::default(),
            keys: Vec::new(),
            rules: Vec::new(),
            on_denied_publish: DeniedPublish::Disconnect,
            tokens: TokenSettings::default(),
            allow_anonymous: false,
            spread_threshold: 512,
            drain_grace: Duration::ZERO,
            drain_period: None,
            drain_deadline: Duration::from_secs(10),
            channels: ChannelRules::default(),
            store: StoreSettings::default(),
            limits: Limits::default(),
            peer: PeerSettings::default(),
            fleet: FleetSettings::default(),
            tls: TlsSettings::default(),
            websocket: WebSocketSettings::default(),
            proxies: ProxySettings::default(),
            admin: AdminSettings::default(),
        }
    }
}
