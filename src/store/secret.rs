//! The secret of a store.

use std::fmt;

/// Keys the names of publishers, so that nobody can choose a name that meets another's. A store keeps it, so that
/// publishers are known after a restart. Its debug output does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct PublisherSecret(u128);

impl PublisherSecret {
    /// Makes a new one.
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }

    /// Returns the secret with these bytes.
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }

    /// Returns its bytes.
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }
}

impl fmt::Debug for PublisherSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublisherSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_debug_output_does_not_show_it() {
        let secret = PublisherSecret::from_bytes([0xAB; 16]);
        let shown = format!("{secret:?}").to_lowercase();
        assert!(!shown.contains("ab"), "{shown}");
        assert!(!shown.contains("228"), "{shown}");
    }
}
