//! The result of a read, plain or under TLS.

/// The result of a read.
pub(super) enum Arrival {
    /// Number of bytes, 0 if they were TLS's own. Unless `is_last`, there may be more; what comes
    /// later makes a new event.
    Bytes { len: usize, is_last: bool },
    /// The broker has closed the connection.
    End,
}
