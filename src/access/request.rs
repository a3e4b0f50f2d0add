//! Decides about HTTP requests: what their clients may ask for, and which pages may send them.

use std::time::SystemTime;

use super::Access;
use super::denied::Denied;
use super::proof::{Credentials, RequestProof, ShownToken};
use super::rights::Entry;
use crate::escape::Escaped;
use crate::websocket::{Hosts, host_allowed, origin_allowed};

impl Access {
    /// Decides which names a client may use after its HTTP request: to join with over WebSocket, or to publish and read.
    ///
    /// # Errors
    ///
    /// Its client may not even ask to join; see [`Denied`].
    pub(crate) fn request(
        &self,
        shown: &Credentials<'_>,
        now: SystemTime,
    ) -> Result<RequestProof, Denied> {
        self.check_origin(shown.origin, shown.host)?;
        let hashes = shown.auth.to_vec();
        let Some(bearer) = shown.bearer else {
            let is_private = shown.is_private;
            let token = shown
                .token
                .map(|text| self.by_token(ShownToken { text, is_private }, now));
            let (grant, fault) = match token {
                None => (None, None),
                Some(Ok(grant)) => (Some(grant), None),
                Some(Err(fault)) => (None, Some(fault)),
            };
            return Ok(RequestProof {
                grant,
                fault,
                hashes,
            });
        };
        match self.by_bearer(bearer, shown.is_private, now) {
            Ok(grant) => Ok(RequestProof {
                grant: Some(grant),
                fault: None,
                hashes,
            }),
            // Nothing has to be proved, whatever is shown.
            Err(_) if self.needs_no_proof(Entry::Web) => Ok(RequestProof::default()),
            Err(denied) => Err(denied),
        }
    }

    /// Decides whether a page of that origin may send requests to this host.
    ///
    /// # Errors
    ///
    /// It may not.
    pub(crate) fn check_origin(&self, origin: Option<&str>, host: &str) -> Result<(), Denied> {
        if origin_allowed(origin, host, self.hosts(), &self.origins) {
            return Ok(());
        }
        Err(Denied::Origin {
            origin: Escaped(origin.unwrap_or_default()).to_string(),
            host: Escaped(host).to_string(),
        })
    }

    /// Decides whether the page may be asked for by this host.
    ///
    /// # Errors
    ///
    /// It may not.
    pub(crate) fn check_host(&self, host: &str) -> Result<(), Denied> {
        if host_allowed(host, self.hosts(), &self.origins) {
            return Ok(());
        }
        let host = Escaped(host).to_string();
        Err(Denied::Host { host })
    }

    /// Returns the hosts by which pages may be asked for. Where no key protects the channels, a
    /// browser that can reach this server must not be led here by a name of somebody else's.
    fn hosts(&self) -> Hosts {
        if self.admits_anonymous(Entry::Web) {
            Hosts::Fixed
        } else {
            Hosts::Any
        }
    }
}
