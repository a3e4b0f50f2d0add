//! Certificates for one run, signed by themselves.

use std::io;
use std::path::PathBuf;

use crate::process::Place;

/// Where rustls-acme, which `mles` 2.9.4 takes its certificates from, would keep the one it had got
/// from Let's Encrypt for `localhost`: the hash is over the name and the address of that authority.
/// A certificate that is found there, and is valid for long enough, is taken without asking anybody.
const ACME_CACHE: &str = "cached_cert_VK-lYGvOoYu5HvTAehRJeelHMjtQw3LqzEhpKEb7WlM";

/// A certificate for `localhost` and its key, in PEM.
pub(super) struct Certificate {
    chain: String,
    key: String,
}

impl Certificate {
    /// Makes a certificate and its key.
    ///
    /// # Errors
    /// The cryptography of this program fails.
    pub(super) fn new() -> io::Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let made = made.map_err(io::Error::other)?;
        Ok(Self {
            chain: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
        })
    }

    /// Returns certificate and key, each as a file of its own.
    pub(super) fn files(self, place: Place<'_>) -> [(PathBuf, String); 2] {
        [
            (place.dir.join("cert.pem"), self.chain),
            (place.dir.join("key.pem"), self.key),
        ]
    }

    /// Returns certificate and key in one file, as rustls-acme keeps them.
    pub(super) fn acme_cache(self, place: Place<'_>) -> (PathBuf, String) {
        (place.dir.join(ACME_CACHE), self.key + &self.chain)
    }
}
