//! The settings in force: one value, which a reload replaces as a whole.
//!
//! Everything that belongs together changes together: whoever takes a look sees the settings, the access and the rules
//! of one configuration. Taking a look is cheap, but not free: what every read or message needs is copied when a session
//! begins, or kept by the shard ([`ReadLimits`]).

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use wildmatch::WildMatch;

use crate::access::Access;
#[cfg(feature = "store")]
use crate::channel::HistoryStorage;
use crate::channel::{ChannelRules, ChannelSettings};
use crate::protocol::HEADER_LEN;
use crate::settings::Settings;

/// The settings of a broker, with what is made of them.
#[derive(Debug)]
pub(crate) struct Live {
    /// Number of reloads before; 0 for the settings that the broker was started with.
    pub(crate) generation: u32,
    /// The settings.
    pub(crate) settings: Settings,
    /// Decides who may join, and as what.
    pub(crate) access: Access,
    /// Finds the settings of a channel by its name.
    rules: Rules,
}

impl Live {
    /// Prepares `settings` for use.
    pub(crate) fn new(settings: Settings, generation: u32) -> Self {
        Self {
            generation,
            access: Access::new(&settings),
            rules: Rules::new(&settings.channels),
            settings,
        }
    }

    /// Returns `true` if the channel called `name` keeps its history on disk.
    #[cfg(feature = "store")]
    pub(crate) fn keeps_on_disk(&self, name: &str) -> bool {
        self.channel_settings(name).history == HistoryStorage::Disk
    }

    /// Returns the settings of the channel called `name`.
    pub(super) fn channel_settings(&self, name: &str) -> Arc<ChannelSettings> {
        let mut patterns = self.rules.patterns.iter();
        let matching = patterns.find(|(pattern, _)| pattern.matches(name));
        matching
            .map_or(&self.rules.default, |(_, settings)| settings)
            .clone()
    }
}

/// The settings of channels by name, with the patterns compiled.
#[derive(Debug)]
struct Rules {
    default: Arc<ChannelSettings>,
    patterns: Vec<(WildMatch, Arc<ChannelSettings>)>,
}

impl Rules {
    fn new(rules: &ChannelRules) -> Self {
        let patterns = rules.patterns.iter();
        Self {
            default: Arc::new(rules.default.clone()),
            patterns: patterns
                .map(|(pattern, settings)| (WildMatch::new(pattern), Arc::new(settings.clone())))
                .collect(),
        }
    }
}

/// A part of the settings in force, for one look: a task that waits meanwhile would keep old settings in memory.
#[derive(Debug)]
pub(crate) struct LiveRef<T> {
    live: Guard<Arc<Live>>,
    part: fn(&Live) -> &T,
}

impl<T> LiveRef<T> {
    pub(super) const fn new(live: Guard<Arc<Live>>, part: fn(&Live) -> &T) -> Self {
        Self { live, part }
    }
}

impl<T> Deref for LiveRef<T> {
    type Target = T;

    fn deref(&self) -> &T {
        (self.part)(&self.live)
    }
}

/// Limits that every read looks at. Each shard keeps a copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadLimits {
    /// Largest body in bytes.
    pub(crate) max_body: usize,
    /// Largest message over WebSocket in bytes.
    pub(crate) max_message: usize,
    /// Time for each further 64 KiB of a frame that has begun to come.
    pub(crate) frame_deadline: Duration,
    /// A WebSocket client that has been silent for this long is pinged.
    pub(crate) ping_interval: Duration,
    /// A WebSocket client that has been silent for this long is disconnected.
    pub(crate) ping_timeout: Duration,
}

impl ReadLimits {
    pub(super) fn new(settings: &Settings) -> Self {
        let (limits, websocket) = (&settings.limits, &settings.websocket);
        Self {
            max_body: limits.max_frame - HEADER_LEN,
            max_message: websocket.max_message,
            frame_deadline: limits.frame_deadline,
            ping_interval: websocket.ping_interval,
            ping_timeout: websocket.ping_timeout,
        }
    }
}
