//! The request for an upgrade to WebSocket.

#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use percent_encoding::percent_decode_str;
use sha1::{Digest as _, Sha1};

use super::super::greeting::parse_hex;
use super::request::{BadRequest, HttpRequest};

/// Appended to the key before it is hashed (RFC 6455).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Length of the key, in bytes.
const KEY_LEN: usize = 16;
/// Most numbers in `auth`.
const MAX_AUTH: usize = 64;

/// A subprotocol that is spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subprotocol {
    /// Messages as they are.
    Mles,
    /// What the server sends in Mles v2 begins with a character that tells messages from notices.
    Resume,
    /// So does what the client sends behind its greeting: it may show tokens.
    Token,
}

impl Subprotocol {
    /// Returns the name that it is offered by.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Mles => "mles-websocket",
            Self::Resume => "mles-websocket.resume",
            Self::Token => "mles-websocket.token",
        }
    }
}

/// Subprotocols that a client offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// None: it takes what it gets.
    Nothing,
    /// This one, which is chosen, and perhaps others.
    Ours(Subprotocol),
    /// Others only.
    Others,
}

/// A request for an upgrade. It may offer extensions; none is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upgrade<'a> {
    /// The value of `Sec-WebSocket-Accept` in the answer.
    pub(crate) accept: String,
    pub(crate) offer: Offer,
    /// Origin of the page that asks, if it is a page.
    pub(crate) origin: Option<&'a str>,
    /// The numbers from `auth` in the query.
    pub(crate) auth: Vec<u64>,
    /// The secret or the token of `Authorization: Bearer`.
    pub(crate) bearer: Option<&'a str>,
    /// The `token` in the query.
    pub(crate) token: Option<&'a str>,
}

impl<'a> HttpRequest<'a> {
    /// Returns the request for an upgrade to WebSocket; `None` if it asks for something else.
    ///
    /// # Errors
    ///
    /// It asks and does it wrong.
    pub(crate) fn upgrade(&self) -> Result<Option<Upgrade<'a>>, BadRequest> {
        if !self.lists("Connection", "upgrade") || !self.lists("Upgrade", "websocket") {
            // Only clients of WebSocket send it: what is missing was lost on the way.
            return match self.all("Sec-WebSocket-Key").next() {
                Some(_) => Err(BadRequest::HalfAnUpgrade),
                None => Ok(None),
            };
        }
        self.needs_http_1_1()?;
        if self.method != Method::GET {
            return Err(BadRequest::Method);
        }
        self.refuse_body()?;
        if self.only("Sec-WebSocket-Version")? != Some("13") {
            return Err(BadRequest::WebSocketVersion);
        }
        let key = self.only("Sec-WebSocket-Key")?.unwrap_or_default();
        if STANDARD.decode(key).is_ok_and(|key| key.len() == KEY_LEN) {
            Ok(Some(Upgrade {
                accept: accept(key),
                offer: self.offer(),
                origin: self.only("Origin")?,
                auth: self.auth()?,
                bearer: self.bearer()?,
                token: self.token()?,
            }))
        } else {
            Err(BadRequest::Header {
                name: "Sec-WebSocket-Key",
            })
        }
    }

    /// Returns the numbers of every `auth` in the query, which are session keys.
    ///
    /// # Errors
    ///
    /// They are no numbers, or too many.
    pub(crate) fn auth(&self) -> Result<Vec<u64>, BadRequest> {
        self.query.map_or(Ok(Vec::new()), auth)
    }

    /// Returns the `token` in the query, whose characters need no encoding there.
    ///
    /// # Errors
    ///
    /// There are several.
    pub(crate) fn token(&self) -> Result<Option<&'a str>, BadRequest> {
        let pairs = self.query.into_iter().flat_map(|query| query.split('&'));
        let mut tokens = pairs.filter_map(|pair| pair.strip_prefix("token="));
        let token = tokens.next();
        match tokens.next() {
            Some(_) => Err(BadRequest::Token),
            None => Ok(token),
        }
    }

    /// Returns the secret or the token of `Authorization: Bearer`.
    ///
    /// # Errors
    ///
    /// The header is there twice.
    pub(crate) fn bearer(&self) -> Result<Option<&'a str>, BadRequest> {
        Ok(self.only("Authorization")?.and_then(bearer))
    }

    /// Returns `true` if a header that is a list, in one line or several, has that token in any case.
    fn lists(&self, name: &'static str, token: &str) -> bool {
        self.items(name)
            .any(|item| item.eq_ignore_ascii_case(token))
    }

    fn items(&self, name: &'static str) -> impl Iterator<Item = &'a str> {
        let items = self.all(name).flat_map(|value| value.split(','));
        items.map(str::trim_ascii)
    }

    fn offer(&self) -> Offer {
        let offers = |subprotocol: Subprotocol| {
            let mut offered = self.items("Sec-WebSocket-Protocol");
            offered.any(|name| name == subprotocol.name())
        };
        // Who offers several falls back to the plain one where a server has no other.
        let ours = [Subprotocol::Token, Subprotocol::Resume, Subprotocol::Mles];
        match ours.into_iter().find(|&ours| offers(ours)) {
            Some(subprotocol) => Offer::Ours(subprotocol),
            None if self.items("Sec-WebSocket-Protocol").next().is_none() => Offer::Nothing,
            None => Offer::Others,
        }
    }
}

fn accept(key: &str) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// Returns the numbers of every `auth` in a query: each may be a list with commas.
fn auth(query: &str) -> Result<Vec<u64>, BadRequest> {
    let mut numbers = Vec::new();
    let values = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("auth="));
    for value in values {
        let value = percent_decode_str(value).decode_utf8();
        let value = value.map_err(|_| BadRequest::Auth)?;
        for number in value.split(',').filter(|number| !number.is_empty()) {
            if numbers.len() == MAX_AUTH {
                return Err(BadRequest::Auth);
            }
            numbers.push(parse_hex(number).ok_or(BadRequest::Auth)?);
        }
    }
    Ok(numbers)
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_ascii_start();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
