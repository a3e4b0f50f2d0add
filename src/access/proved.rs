//! Finds out what clients have proved.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::Access;
use super::denied::Denied;
use super::grant::Grant;
use super::proof::{Proof, RequestProof, ShownToken, shows_no_key};
use super::rights::Entry;
use crate::escape::Escaped;
use crate::protocol::Keyring;

/// Proof that a client has shown for its join, as far as it counts.
pub(super) struct Shown {
    pub(super) entry: Entry,
    /// The key or token that the client is known by; `None` if it has shown none that counts.
    pub(super) grant: Option<Arc<Grant>>,
    /// The reason for which what it has shown does not count, if there is one to tell.
    pub(super) fault: Option<Denied>,
    /// Set if it has not even tried to prove anything.
    pub(super) is_nothing: bool,
}

impl Access {
    /// Finds out what a client has proved. All that it shows is looked at, whatever is right.
    pub(super) fn look_at(
        &self,
        proof: Proof<'_>,
        address: SocketAddr,
        uid: &str,
        channel: &str,
        now: SystemTime,
    ) -> Shown {
        let by_key = |key| {
            let grant = self.keys.of_session_key(key, address, uid, channel);
            grant.cloned()
        };
        let (entry, proved, is_nothing) = match proof {
            Proof::Key(key) => {
                let is_nothing = Keyring::default().verify(key, address, uid, channel);
                (Entry::Frame, Ok(by_key(key)), is_nothing)
            }
            Proof::Resync { nested, outer } => {
                let outer = by_key(outer);
                (Entry::Resync, Ok(by_key(nested).or(outer)), false)
            }
            Proof::Token(token) => (Entry::Frame, self.by_token(token, now).map(Some), false),
            Proof::Request {
                request,
                token: None,
            } => {
                let proved = self.by_request(request, uid, channel, now);
                (Entry::Web, proved, request.is_empty())
            }
            Proof::Request {
                token: Some(token), ..
            }
            | Proof::Greeting {
                token: Some(token), ..
            } => (Entry::Web, self.by_token(token, now).map(Some), false),
            Proof::Greeting { request, auth, .. } => {
                let by_auth = auth.and_then(|auth| self.keys.of_v2_auth(auth, uid, channel));
                let by_request = self.by_request(request, uid, channel, now);
                let is_nothing = request.is_empty() && shows_no_key(auth, uid, channel);
                let proved = match by_auth {
                    Some(grant) => Ok(by_request.ok().flatten().or_else(|| Some(grant.clone()))),
                    None => by_request,
                };
                (Entry::Web, proved, is_nothing)
            }
        };
        let (grant, fault) = match proved {
            Ok(grant) => (grant, None),
            Err(fault) => (None, Some(fault)),
        };
        Shown {
            entry,
            grant,
            fault,
            is_nothing,
        }
    }

    /// Returns what a client has proved that has proved `grant` before.
    pub(super) fn again(&self, grant: &Arc<Grant>, now: SystemTime) -> Result<Arc<Grant>, Denied> {
        match &**grant {
            Grant::Token(claims) => {
                self.tokens.recheck(claims, now)?;
                Ok(grant.clone())
            }
            Grant::Key(key) => self
                .keys
                .again(grant)
                .cloned()
                .ok_or_else(|| Denied::KeyRevoked {
                    name: key.name().to_owned(),
                }),
        }
    }

    /// Returns what a client has proved by its HTTP request. A secret that has changed since does not count.
    ///
    /// # Errors
    ///
    /// It has shown a token that does not count.
    fn by_request(
        &self,
        request: &RequestProof,
        uid: &str,
        channel: &str,
        now: SystemTime,
    ) -> Result<Option<Arc<Grant>>, Denied> {
        let by_hashes = self.keys.of_hashes(&request.hashes, uid, channel);
        let shown = match (&request.grant, &request.fault) {
            (Some(grant), _) => self.again(grant, now).map(Some),
            (None, Some(fault)) => Err(fault.clone()),
            (None, None) => Ok(None),
        };
        match (shown, by_hashes) {
            (Ok(Some(grant)), _) => Ok(Some(grant)),
            (_, Some(grant)) => Ok(Some(grant.clone())),
            (Err(denied @ (Denied::Token(_) | Denied::TokenInClear)), None) => Err(denied),
            (_, None) => Ok(None),
        }
    }

    /// Returns what a client has proved by a token.
    pub(super) fn by_token(
        &self,
        token: ShownToken<'_>,
        now: SystemTime,
    ) -> Result<Arc<Grant>, Denied> {
        if !token.is_private {
            return Err(Denied::TokenInClear);
        }
        let claims = self.tokens.verify(token.text, now)?;
        Ok(Arc::new(Grant::Token(claims)))
    }

    /// Returns what a client has proved that shows a secret or a token in the header of its request.
    pub(super) fn by_bearer(
        &self,
        bearer: &str,
        is_private: bool,
        now: SystemTime,
    ) -> Result<Arc<Grant>, Denied> {
        if !is_private {
            return Err(Denied::KeyInClear);
        }
        if let Some(grant) = self.keys.of_secret(bearer) {
            return Ok(grant.clone());
        }
        // A secret is hardly made of three parts with dots between them.
        if self.tokens.has_keys() && bearer.matches('.').count() == 2 {
            let text = bearer;
            return self.by_token(ShownToken { text, is_private }, now);
        }
        Err(Denied::WrongSecret)
    }

    /// Returns the reason to deny a join that has proved nothing.
    pub(super) fn nothing_proved(&self, entry: Entry, uid: &str, channel: &str) -> Denied {
        let (uid, channel) = (Escaped(uid).to_string(), Escaped(channel).to_string());
        match entry {
            Entry::Web => Denied::WrongAuth { uid, channel },
            Entry::Frame | Entry::Resync | Entry::Upstream => Denied::WrongKey {
                uid,
                channel,
                uses_address: self.keys.uses_address(),
            },
        }
    }
}
