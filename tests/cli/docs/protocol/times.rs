//! How long a token still counts: another time whenever the examples are played, and always of the same length.

/// What stands in front of the time, in JSON and in CBOR, and how many bytes of it follow.
const TIMES: [(&[u8], usize); 2] = [(b"\"ttl\":", 13), (b"cttl\x1b", 8)];

/// Returns `got` with the times that `expected` shows, where there are any in both.
pub(super) fn as_shown(expected: &[u8], got: &[u8]) -> Vec<u8> {
    let mut out = got.to_vec();
    for (mark, len) in TIMES {
        let found = expected.windows(mark.len()).position(|found| found == mark);
        let Some(at) = found.map(|at| at + mark.len()) else {
            continue;
        };
        if out.len() == expected.len() && out[..at] == expected[..at] {
            out[at..at + len].copy_from_slice(&expected[at..at + len]);
        }
    }
    out
}
