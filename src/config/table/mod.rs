//! The list of options: for each its names, its place in the configuration, and its form.
//!
//! Invariants: options of one section stand together, in the order of [`Section::ALL`]; ranges are
//! part of the form, what must hold between options is not in here.
//!
//! This module must not read or check anything itself.
//!
//! [`Section::ALL`]: super::Section::ALL

use std::time::Duration;

use super::option::Opt;

/// More of anything than one machine holds; a count above it is a slip of the finger.
const MILLIONS: u64 = 100_000_000;
/// The same for sizes, in bytes.
const TIB: u64 = 1 << 40;
/// In bytes: a join frame with short names fits.
const SMALLEST_FRAME: u64 = 64;
/// No deadline is shorter: timers are not much finer.
const BLINK: Duration = Duration::from_millis(10);
const HOUR: Duration = Duration::from_secs(3600);
/// As humantime counts it: messages say "1year".
const YEAR: Duration = Duration::from_secs(31_557_600);

macro_rules! place {
    ($($path:ident).+) => {
        Place {
            get: |config| &config.$($path).+,
            get_mut: |config| &mut config.$($path).+,
        }
    };
}

mod channels;
mod limits;
mod listeners;

const COUNT: usize = listeners::LISTENERS.len() + channels::CHANNELS.len() + limits::LIMITS.len();

/// Everything that can be set, by section.
pub(crate) static OPTIONS: &[Opt] = &all();

const fn all() -> [Opt; COUNT] {
    let parts = [listeners::LISTENERS, channels::CHANNELS, limits::LIMITS];
    let mut all = [parts[0][0]; COUNT];
    let (mut part, mut next) = (0, 0);
    while part < parts.len() {
        let mut i = 0;
        while i < parts[part].len() {
            all[next] = parts[part][i];
            i += 1;
            next += 1;
        }
        part += 1;
    }
    all
}
