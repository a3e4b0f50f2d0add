//! `mles token`: issues tokens for trying out, and inspects those of others.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use thiserror::Error;

use super::duration::parse_duration;
use super::exit;
use super::output::{print, printed, say};
use crate::access::{
    BadSigningKey, BadTokenKey, Permissions, SigningKey, TokenError, TokenKey, TokenVerifier,
    read_unverified,
};
use crate::protocol::MAX_TOKEN_LEN;
use crate::settings::TokenSettings;

/// Largest file with a key, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// The word that stands for the standard input.
const STDIN: &str = "-";

/// Issue and inspect tokens (JWT), for trying them out
#[derive(Args)]
#[command(after_help = "\
A token says who a client is and what it may do. A server verifies it with the keys of --token-key; usually your \
login service signs them.

Examples:
  openssl rand -hex 32 > secret
  mles serve --token-key secret
  mles token new --key secret --uid alice --channel 'room.*' --expires 1h > alice.jwt
  mles sub room.7 --token-file alice.jwt
  mles token show - < alice.jwt")]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Subcommand)]
enum TokenCommand {
    New(NewArgs),
    Show(ShowArgs),
}

/// Print a new token
#[derive(Args)]
#[command(after_help = "\
Without --channel, the rules of the server decide what the token is good for.

Keys are made like this:
  openssl rand -hex 32 > secret                          HS256, a secret that the server has too
  openssl genpkey -algorithm ed25519 -out private.pem    EdDSA
  openssl pkey -in private.pem -pubout -out public.pem   what the server needs of it

Exit codes:
  0  done
  1  the key cannot be used, or the output cannot be written
  2  wrong arguments")]
struct NewArgs {
    /// File with the key to sign with: a private key in PEM, or a secret
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// Name that the client may join as (sub)
    #[arg(long, short, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    uid: String,

    /// Channel that the token is for; * and ? stand for any characters and one, {uid} for the name; can be repeated
    #[arg(long = "channel", value_name = "PATTERN", value_parser = NonEmptyStringValueParser::new())]
    channels: Vec<String>,

    /// What the client may do there, separated by commas [default: all but peer]
    #[arg(long, value_name = "PERMISSION", value_delimiter = ',', requires = "channels",
          value_parser = PossibleValuesParser::new(Permissions::all_names()))]
    allow: Vec<String>,

    /// Time until it expires
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "1h")]
    expires: Duration,

    /// Issuer, for servers with token_issuer (iss)
    #[arg(long, value_name = "TEXT")]
    issuer: Option<String>,

    /// Audience, for servers with token_audience (aud)
    #[arg(long, value_name = "TEXT")]
    audience: Option<String>,

    /// Name of the key, for servers with several of them in a JWKS file (kid)
    #[arg(long, value_name = "NAME")]
    key_id: Option<String>,
}

/// Print what a token says, and verify it with --key
#[derive(Args)]
#[command(after_help = "\
Exit codes:
  0  it is a token, and good as far as it was checked
  1  it is not, or the key cannot be used
  2  wrong arguments")]
struct ShowArgs {
    /// The token, or - to read it from standard input
    #[arg(value_name = "TOKEN")]
    token: String,

    /// File with keys as --token-key of the server takes them
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

#[derive(Debug, Error)]
enum TokenCommandError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot read standard input: {0}")]
    Input(io::Error),
    #[error("cannot sign with {}: {why}", path.display())]
    SigningKey { path: PathBuf, why: BadSigningKey },
    #[error("no keys in {}: {why}", path.display())]
    Keys { path: PathBuf, why: BadTokenKey },
    #[error("the token {0}")]
    Token(#[from] TokenError),
    #[error("the token would have {0} bytes; servers take {MAX_TOKEN_LEN}")]
    TooLong(usize),
}

pub(super) fn run(args: TokenArgs) -> ExitCode {
    let done = match args.command {
        TokenCommand::New(args) => issue(args, SystemTime::now()),
        TokenCommand::Show(args) => show(&args, SystemTime::now()),
    };
    match done {
        Ok((text, None)) => printed(print(&text)),
        // What it says may be the reason why it is no good.
        Ok((text, Some(fault))) => {
            let _ = print(&text);
            failed(&fault)
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &TokenCommandError) -> ExitCode {
    say(format_args!("mles: {error}"));
    ExitCode::from(exit::FAILED)
}

/// Text for the standard output, and what is wrong beside it.
type Shown = (String, Option<TokenCommandError>);

fn issue(args: NewArgs, now: SystemTime) -> Result<Shown, TokenCommandError> {
    let path = args.key;
    let file = read(&path)?;
    let bad_key = |why| TokenCommandError::SigningKey {
        path: path.clone(),
        why,
    };
    let key = SigningKey::parse(&file).map_err(bad_key)?;
    let issued = seconds(now);
    let mut claims = json!({
        "sub": args.uid,
        "iat": issued,
        "exp": issued + args.expires.as_secs(),
    });
    for (name, value) in [("iss", args.issuer), ("aud", args.audience)] {
        if let Some(value) = value {
            claims[name] = value.into();
        }
    }
    if !args.channels.is_empty() {
        let channel = |pattern: &String| match args.allow.as_slice() {
            [] => json!(pattern),
            allow => json!({"channel": pattern, "allow": allow}),
        };
        claims["channels"] = args.channels.iter().map(channel).collect();
    }
    let token = key.sign(&claims, args.key_id).map_err(bad_key)?;
    if token.len() > MAX_TOKEN_LEN {
        return Err(TokenCommandError::TooLong(token.len()));
    }
    Ok((format!("{token}\n"), None))
}

fn show(args: &ShowArgs, now: SystemTime) -> Result<Shown, TokenCommandError> {
    let token = if args.token == STDIN {
        let mut text = Vec::new();
        let read = io::stdin().lock().take(MAX_FILE).read_to_end(&mut text);
        read.map_err(TokenCommandError::Input)?;
        String::from_utf8_lossy(&text).into_owned()
    } else {
        args.token.clone()
    };
    let token = token.trim();
    let (header, claims) = read_unverified(token)?;
    let mut text = format!("{header:#}\n{claims:#}\n");
    for (claim, words) in [("iat", "issued"), ("nbf", "valid from"), ("exp", "expires")] {
        if let Some(time) = claims.get(claim).and_then(Value::as_f64) {
            text += &format!("{words} {}\n", moment(time, now));
        }
    }
    let Some(path) = &args.key else {
        text += "not verified: --key FILE has the key\n";
        return Ok((text, None));
    };
    let keys = TokenKey::parse(&read(path)?).map_err(|why| TokenCommandError::Keys {
        path: path.clone(),
        why,
    })?;
    // Issuer and audience are for the server to ask for.
    let named = |claim: &str| claims.get(claim).and_then(Value::as_str).map(str::to_owned);
    let audience = match claims.get("aud") {
        Some(Value::Array(names)) => names.first().and_then(Value::as_str).map(str::to_owned),
        _ => named("aud"),
    };
    let verifier = TokenVerifier::new(&TokenSettings {
        keys,
        issuer: None,
        audience,
        leeway: Duration::ZERO,
    });
    Ok(match verifier.verify(token, now) {
        Ok(_) => (text + "verified\n", None),
        Err(error) => (text, Some(error.into())),
    })
}

/// Returns a time, and how far away it is.
fn moment(seconds: f64, now: SystemTime) -> String {
    let since = Duration::try_from_secs_f64(seconds.trunc()).ok();
    let Some(time) = since.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since)) else {
        return "at no time that there is".to_owned();
    };
    let whole =
        |duration: Duration| humantime::format_duration(Duration::from_secs(duration.as_secs()));
    let distance = match time.duration_since(now) {
        Ok(ahead) => format!("in {}", whole(ahead)),
        Err(behind) => format!("{} ago", whole(behind.duration())),
    };
    // The formatter panics behind the year 9999.
    if seconds > 253_402_300_799.0 {
        return distance;
    }
    format!("{} ({distance})", humantime::format_rfc3339_seconds(time))
}

fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

fn read(path: &Path) -> Result<Vec<u8>, TokenCommandError> {
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut content));
    match read {
        Ok(_) => Ok(content),
        Err(source) => Err(TokenCommandError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}
