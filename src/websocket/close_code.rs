//! The codes in close frames.

/// Largest payload of a control frame, in bytes.
pub(crate) const MAX_CONTROL: usize = 125;

/// The code in a close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CloseCode(pub(super) u16);

impl CloseCode {
    /// The client is done; it is answered with what it sent.
    #[cfg(test)]
    pub(crate) const NORMAL: Self = Self(1000);
    /// The server is being stopped.
    pub(crate) const GOING_AWAY: Self = Self(1001);
    /// The client does not keep to the WebSocket protocol, or to the Mles protocol on it.
    pub(crate) const PROTOCOL: Self = Self(1002);
    /// A message of a kind that is not taken: text where only CBOR bodies are, or the reverse.
    pub(crate) const UNSUPPORTED: Self = Self(1003);
    /// Text that is not UTF-8.
    pub(crate) const BAD_DATA: Self = Self(1007);
    /// The message is well-formed but not allowed: a name, an origin, a rate.
    pub(crate) const POLICY: Self = Self(1008);
    /// The message is over the size limit.
    pub(crate) const TOO_BIG: Self = Self(1009);
    /// A mistake of ours.
    pub(crate) const INTERNAL: Self = Self(1011);
    /// The server is full; a later try may succeed.
    pub(crate) const TRY_LATER: Self = Self(1013);
    /// The key does not fit the names.
    pub(crate) const AUTH: Self = Self(4401);
    /// The client has proved who it is, and has no right to what it asks for or does.
    pub(crate) const RIGHT: Self = Self(4403);
    /// The member was too slow for its channel.
    pub(crate) const SLOW: Self = Self(4408);
    /// The uid is on the channel already.
    pub(crate) const DUPLICATE: Self = Self(4409);

    /// Returns the code as a number.
    pub(crate) const fn as_u16(self) -> u16 {
        self.0
    }

    /// Returns the code that a client has sent; `None` if RFC 6455 and its registry let nobody send it.
    pub(super) const fn received(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }
}
