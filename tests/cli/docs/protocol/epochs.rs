//! Epochs are random: each that the document shows stands for one that the server has chosen.

/// Length of an epoch as text.
const LEN: usize = 16;

/// Which epoch stands for which.
#[derive(Default)]
pub(super) struct Epochs {
    /// The shown and the real one.
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Epochs {
    /// Returns what a client has to send where the document shows `bytes`.
    pub(super) fn as_sent(&self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        for (shown, real) in &self.pairs {
            replace(&mut out, shown, real);
        }
        out
    }

    /// Returns what the document has to show where `got` has come, if it shows `expected`. An epoch that is shown for
    /// the first time stands for that which has come in its place.
    pub(super) fn match_shown(&mut self, expected: &[u8], got: &[u8]) -> Vec<u8> {
        for at in epochs_in(expected) {
            let shown = &expected[at..at + LEN];
            let is_known = self.pairs.iter().any(|(known, _)| known == shown);
            if let (false, Some(real)) = (is_known, got.get(at..at + LEN)) {
                self.pairs.push((shown.to_vec(), real.to_vec()));
            }
        }
        let mut out = got.to_vec();
        for (shown, real) in &self.pairs {
            replace(&mut out, real, shown);
        }
        out
    }
}

/// Where text of 16 hexadecimal digits stands.
fn epochs_in(bytes: &[u8]) -> Vec<usize> {
    let is_digit = |at: usize| matches!(bytes.get(at), Some(b'0'..=b'9' | b'a'..=b'f'));
    let is_epoch = |&at: &usize| {
        let is_alone = (at == 0 || !is_digit(at - 1)) && !is_digit(at + LEN);
        is_alone && (at..at + LEN).all(is_digit)
    };
    (0..bytes.len()).filter(is_epoch).collect()
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    let found: Vec<_> = bytes
        .windows(LEN)
        .enumerate()
        .filter_map(|(at, window)| (window == from).then_some(at))
        .collect();
    for at in found {
        bytes[at..at + LEN].copy_from_slice(to);
    }
}
