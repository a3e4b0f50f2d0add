//! Options of the connection, which `pub`, `sub` and `chat` have in common.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::builder::NonEmptyStringValueParser;

use super::failure::CommandFailure;
use super::output::say;
use super::refusal::{KeyShown, RefusalGuide};
use crate::access::read_unverified;
use crate::client::{Client, ClientTls, ClientTlsOptions, Error, Keyring};
use crate::config::{Environment, KeySources, Problem, Secret, ValueOrigin};
use crate::protocol::MAX_TOKEN_LEN;
use crate::server_name::ServerName;

/// The server to connect to if nobody names one.
const DEFAULT_SERVER: &str = "localhost";
/// The headings of these options.
pub(super) const CONNECTION: &str = "Connection";
const KEY: &str = "Key";
const TLS: &str = "TLS";

/// The server to connect to, the name and the keys to join with.
#[derive(Debug, clap::Args)]
pub(crate) struct ConnectArgs {
    /// HOST, HOST:PORT or tls://HOST:PORT; the default port is 8077 [env: MLES_SERVER] [default:
    /// localhost]
    #[arg(long, short, value_name = "SERVER", help_heading = CONNECTION)]
    server: Option<String>,

    /// Name to join as [default: the user's name with a random suffix]
    #[arg(long, short, value_name = "NAME", value_parser = NonEmptyStringValueParser::new(),
          help_heading = CONNECTION)]
    uid: Option<String>,

    /// Use a random connection id, so that one name can join a channel more than once
    #[arg(long, help_heading = CONNECTION)]
    random_cid: bool,

    /// File with the key that the server asks for, on one line; options win over the environment [env:
    /// MLES_KEY_FILE]
    #[arg(long, value_name = "FILE", help_heading = KEY)]
    key_file: Option<PathBuf>,

    /// The key itself, which other users can see in the process list: prefer the file or the environment
    /// [env: MLES_KEY]
    #[arg(long, value_name = "KEY", value_parser = NonEmptyStringValueParser::new(),
          help_heading = KEY)]
    key: Option<String>,

    /// Address key, for servers that have no other key; does not work through NAT [env: MLES_ADDR_KEY]
    #[arg(long, value_name = "KEY", value_parser = NonEmptyStringValueParser::new(),
          help_heading = KEY)]
    addr_key: Option<String>,

    /// File with a token (JWT) to show instead of a key; read again for every connection. The default name is then the
    /// one in it. Servers accept tokens over TLS and on their own machine only [env: MLES_TOKEN_FILE]
    #[arg(long, value_name = "FILE", conflicts_with = "token", help_heading = KEY)]
    token_file: Option<PathBuf>,

    /// The token itself, which other users can see in the process list [env: MLES_TOKEN]
    #[arg(long, value_name = "TOKEN", value_parser = NonEmptyStringValueParser::new(),
          help_heading = KEY)]
    token: Option<String>,

    /// Use TLS, as tls:// in front of the server does
    #[arg(long, help_heading = TLS)]
    tls: bool,

    /// PEM file with the CA certificates to trust instead of the system's, or with the server's own
    /// certificate
    #[arg(long, value_name = "FILE", help_heading = TLS)]
    ca: Option<PathBuf>,

    /// Do not verify the server's certificate: anyone on the network path can read and change everything
    #[arg(long, conflicts_with = "ca", help_heading = TLS)]
    insecure: bool,

    /// PEM file with the client certificate, for servers that ask for one
    #[arg(long, value_name = "FILE", requires = "client_key", help_heading = TLS)]
    client_cert: Option<PathBuf>,

    /// PEM file with the private key of the client certificate
    #[arg(long, value_name = "FILE", requires = "client_cert", help_heading = TLS)]
    client_key: Option<PathBuf>,
}

impl ConnectArgs {
    /// Creates the client that these options and the environment describe.
    pub(crate) fn client(self) -> Result<Client, CommandFailure> {
        let environment = Environment::of_process();
        let text = |name| match environment.text(name) {
            Ok(found) => Ok(found.map(|(text, _)| text.to_owned())),
            Err(problem) => Err(CommandFailure::Usage(problem.to_string())),
        };
        let server = match &self.server {
            Some(server) => server.clone(),
            None => text("MLES_SERVER")?.unwrap_or_else(|| DEFAULT_SERVER.to_owned()),
        };
        let tls = self.tls(&server)?;
        let shared = self.shared_key(&environment)?;
        let addr_key = match self.addr_key {
            Some(key) => Some(key),
            None => text("MLES_ADDR_KEY")?,
        };
        let token = match (&self.token, &self.token_file) {
            (None, None) => match text("MLES_TOKEN")? {
                Some(token) => Some(TokenPlace::Text(token)),
                None => environment
                    .get("MLES_TOKEN_FILE")
                    .map(|file| TokenPlace::File(file.into())),
            },
            (Some(token), _) => Some(TokenPlace::Text(token.clone())),
            (None, Some(file)) => Some(TokenPlace::File(file.clone())),
        };
        let shown = token.as_ref().map(TokenPlace::read).transpose();
        let shown = shown.map_err(CommandFailure::Usage)?;
        let subject = shown.as_deref().and_then(subject);
        let uid = self.uid.or(subject).unwrap_or_else(default_uid);
        // A server says why it refuses something only to who asks for positions.
        let mut client = Client::new(server, uid)
            .keyring(Keyring::new(shared, addr_key))
            .positions();
        if let Some(tls) = tls {
            client = client.tls(tls);
        }
        if let Some(token) = token {
            client = client.token_from(move || Ok(token.read()?));
        }
        Ok(if self.random_cid {
            client.random_cid()
        } else {
            client
        })
    }

    /// Returns what is known of the reasons for which a server may refuse these sessions.
    pub(super) fn refusal_guide(&self, is_cid_random: bool, is_verbose: bool) -> RefusalGuide {
        let environment = Environment::of_process();
        let is_set = |name| environment.get(name).is_some();
        let is_shared = self.key.is_some() || self.key_file.is_some();
        let key = if is_shared || is_set("MLES_KEY") || is_set("MLES_KEY_FILE") {
            KeyShown::Shared
        } else if self.token.is_some()
            || self.token_file.is_some()
            || is_set("MLES_TOKEN")
            || is_set("MLES_TOKEN_FILE")
        {
            KeyShown::Token
        } else if self.addr_key.is_some() || is_set("MLES_ADDR_KEY") {
            KeyShown::Address
        } else {
            KeyShown::None
        };
        let is_random = is_cid_random || self.random_cid;
        RefusalGuide {
            key,
            // A name that was made up is nobody else's.
            uid: self.uid.clone().filter(|_| !is_random),
            is_verbose,
        }
    }

    /// Returns the shared key, by the rules of the server.
    fn shared_key(&self, environment: &Environment) -> Result<Option<String>, CommandFailure> {
        let usage = |problem: Problem| CommandFailure::Usage(problem.to_string());
        let by_option = |name: &str| ValueOrigin::Flag(format!("--{name}"));
        let key = match &self.key {
            Some(key) => Some((Secret(key.clone()), by_option("key"))),
            None => environment
                .text("MLES_KEY")
                .map_err(usage)?
                .map(|(key, origin)| (Secret(key.to_owned()), origin)),
        };
        let file = match &self.key_file {
            Some(file) => Some((file.clone(), by_option("key-file"))),
            None => environment.get("MLES_KEY_FILE").map(|file| {
                let origin = ValueOrigin::Env("MLES_KEY_FILE".to_owned());
                (PathBuf::from(file), origin)
            }),
        };
        let mut warnings = Vec::new();
        let key = KeySources { key, file }.resolve(&mut warnings);
        for warning in warnings {
            say(format_args!("mles: WARNING: {warning}"));
        }
        Ok(key.map_err(usage)?.map(|key| key.0))
    }

    /// Returns the configuration of TLS, if TLS is asked for.
    fn tls(&self, server: &str) -> Result<Option<ClientTls>, CommandFailure> {
        let target: ServerName = server.parse().map_err(Error::from)?;
        let is_tls = self.tls || target.is_tls();
        if !is_tls {
            // Whoever gave these expects more than a connection that anyone can read.
            let without = self.insecure || self.client_cert.is_some() || self.ca.is_some();
            return if without {
                Err(CommandFailure::Usage(
                    "--ca, --insecure and --client-cert are for TLS: add --tls, or write tls:// in \
                     front of the server"
                        .to_owned(),
                ))
            } else {
                Ok(None)
            };
        }
        if self.insecure {
            say(
                "mles: WARNING: --insecure: the server's certificate is not verified; anyone on the \
                 network path can read and change everything, and learn the key",
            );
        }
        let mut options = ClientTlsOptions::default();
        options.ca.clone_from(&self.ca);
        options.insecure = self.insecure;
        options.cert.clone_from(&self.client_cert);
        options.key.clone_from(&self.client_key);
        let tls =
            ClientTls::new(options).map_err(|error| CommandFailure::Usage(error.to_string()))?;
        for warning in tls.warnings(SystemTime::now()) {
            say(format_args!("mles: WARNING: {warning}"));
        }
        Ok(Some(tls))
    }
}

/// Source of a token.
enum TokenPlace {
    Text(String),
    File(PathBuf),
}

impl TokenPlace {
    /// Returns the token, or why there is none.
    fn read(&self) -> Result<String, String> {
        let path = match self {
            Self::Text(token) => return Ok(token.clone()),
            Self::File(path) => path,
        };
        let failed = |why: &dyn std::fmt::Display| {
            format!("cannot read the token from {}: {why}", path.display())
        };
        let file = File::open(path).map_err(|error| failed(&error))?;
        let mut token = String::new();
        // The file may be a device without an end.
        let read = file
            .take(2 * MAX_TOKEN_LEN as u64)
            .read_to_string(&mut token);
        read.map_err(|error| failed(&error))?;
        match token.trim() {
            "" => Err(failed(&"it is empty")),
            token => Ok(token.to_owned()),
        }
    }
}

/// Returns the name that a token is for. Whether it is right is for the server to say.
fn subject(token: &str) -> Option<String> {
    let (_, claims) = read_unverified(token).ok()?;
    claims.get("sub")?.as_str().map(str::to_owned)
}

/// Makes up a name that differs from one command to the next, so that one user's commands do not
/// clash.
fn default_uid() -> String {
    let user = ["USER", "LOGNAME", "USERNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    let user = user.as_deref().unwrap_or("mles");
    format!("{user}-{:08x}", rand::random::<u32>())
}
