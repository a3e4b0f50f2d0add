//! What a run is made of, all of it chosen by its seed.

use std::fmt::{self, Display};
use std::time::Duration;

use mles::channel::SlowPolicy;
use mles::{Settings, StoreSync};
use serde::{Deserialize, Serialize};

use crate::common::{Rng, websocket};
use crate::payload::Lengths;
use crate::proxy::{At, Byte, End, Ghost, Late, Plan, Way};
use crate::wire::{Events, Frames, WebV1, WebV2, Wire};

/// The subject of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Theme {
    /// Everything is kept: whoever comes back misses nothing.
    Whole,
    /// So little is kept that who comes back may have missed something.
    Window,
    /// Some read slowly, and queues are short.
    Slow,
    /// Publishers are forgotten while they publish.
    Forgetful,
}

impl Display for Theme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Whole => "whole",
            Self::Window => "window",
            Self::Slow => "slow",
            Self::Forgetful => "forgetful",
        };
        f.write_str(name)
    }
}

/// Where the history of the channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Storage {
    /// In memory: a restart begins a new order.
    Memory,
    /// On disk, before anybody sees it: no restart takes anything.
    Disk,
    /// On disk some time after everybody has seen it: who is killed loses the newest messages.
    DiskLater,
    /// In the log of a fleet, whose nodes come and go: none of that takes anything.
    Fleet,
}

impl Storage {
    /// Returns how many servers there are at once.
    pub fn servers(self) -> usize {
        match self {
            Self::Memory | Self::Disk | Self::DiskLater => 1,
            Self::Fleet => 3,
        }
    }
}

/// What carries a session that asks for positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Tls,
    WebV1,
    WebV2,
    Events,
}

impl Transport {
    pub const ALL: [Self; 5] = [Self::Tcp, Self::Tls, Self::WebV1, Self::WebV2, Self::Events];

    pub fn wire(self) -> Box<dyn Wire> {
        match self {
            Self::Tcp | Self::Tls => Box::new(Frames::new()),
            Self::WebV1 => Box::new(WebV1::new()),
            Self::WebV2 => Box::new(WebV2::new()),
            Self::Events => Box::<Events>::default(),
        }
    }

    pub fn is_tls(self) -> bool {
        self == Self::Tls
    }

    pub fn can_publish(self) -> bool {
        self != Self::Events
    }

    /// Returns `true` if it cannot carry bodies that are no messages.
    pub fn skips_junk(self) -> bool {
        matches!(self, Self::WebV2 | Self::Events)
    }
}

/// A run.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub theme: Theme,
    pub seed: u64,
    pub storage: Storage,
    pub shards: usize,
    pub spread_threshold: usize,
    pub history: usize,
    pub policy: SlowPolicy,
    pub queue_bytes: usize,
    pub lengths: Lengths,
    /// Messages of each publisher.
    pub quota: u32,
    /// Connections of each client that may fail.
    pub faults: usize,
    /// Most bytes that pass before a fault, as a power of two.
    pub magnitude: usize,
    /// How far the run has come, in percent, when the server is stopped and started again.
    pub restarts: Vec<usize>,
    pub pings: bool,
    /// Set if a join may come to the server when its client has been welcomed on another connection since. Then the
    /// publisher is counted anew.
    pub late_joins: bool,
}

impl Scenario {
    pub fn new(theme: Theme, seed: u64) -> Self {
        let mut rng = Rng(seed ^ (theme as u64) << 60);
        let is_slow = theme == Theme::Slow;
        let policies = [
            SlowPolicy::DropOldest,
            SlowPolicy::Disconnect,
            SlowPolicy::Backpressure,
        ];
        let restarts = [0, 1, 1, 2][rng.below(4)];
        let restarts = if is_slow { restarts.min(1) } else { restarts };
        let mut restarts: Vec<_> = (0..restarts).map(|_| 10 + rng.below(80)).collect();
        restarts.sort_unstable();
        Self {
            theme,
            seed,
            storage: Storage::Memory,
            shards: 1 + rng.below(3),
            spread_threshold: [1, 4, 8, 512][rng.below(4)],
            history: match theme {
                Theme::Window => 4 + rng.below(40),
                _ => 100_000,
            },
            policy: policies[rng.below(3)],
            queue_bytes: if is_slow { 200 << 10 } else { 64 << 20 },
            lengths: if is_slow {
                Lengths::Bulk
            } else {
                Lengths::Mixed
            },
            quota: 15 + u32::try_from(rng.below(30)).unwrap(),
            faults: 2 + rng.below(5),
            magnitude: if is_slow { 20 } else { 11 + rng.below(5) },
            restarts,
            pings: rng.below(2) == 0,
            late_joins: rng.below(4) == 0,
        }
    }

    /// The same, where the history is somewhere else. On disk, the server is stopped more often.
    pub fn with_storage(theme: Theme, seed: u64, storage: Storage) -> Self {
        let mut scenario = Self::new(theme, seed);
        scenario.storage = storage;
        if storage != Storage::Memory {
            let mut rng = Rng(seed ^ 0xD15C << 40);
            let restarts = 3 + rng.below(6);
            scenario.restarts = (0..restarts).map(|_| rng.below(95)).collect();
            scenario.restarts.sort_unstable();
        }
        scenario
    }

    /// Returns the name of the test that runs it.
    pub fn test(&self) -> String {
        match self.storage {
            Storage::Memory => self.theme.to_string(),
            Storage::Disk => format!("{}_on_disk", self.theme),
            Storage::DiskLater => format!("{}_on_disk_later", self.theme),
            Storage::Fleet => format!("{}_in_a_fleet", self.theme),
        }
    }

    /// Returns `true` if publishers may be counted anew before they are done. A join that was given up while a server started
    /// or stood still may come after the next one, and know less than that, or only an order that was cut off.
    pub fn forgets(&self) -> bool {
        self.theme == Theme::Forgetful || self.late_joins || self.storage != Storage::Memory
    }

    /// Returns when what is new comes to the disk.
    pub fn sync(&self) -> StoreSync {
        if self.storage == Storage::Disk {
            return StoreSync::Batch;
        }
        let millis = [1, 20, 100, 400][Rng(self.seed ^ 0x5C << 40).below(4)];
        StoreSync::Interval(Duration::from_millis(millis))
    }

    /// Returns the settings of the server, without its addresses.
    pub fn settings(&self) -> Settings {
        let mut settings = websocket::settings();
        settings.shards = Some(self.shards);
        settings.spread_threshold = self.spread_threshold;
        settings.allow_anonymous = true;
        settings.drain_deadline = Duration::from_millis(100);
        let channel = &mut settings.channels.default;
        channel.history_frames = self.history;
        channel.history_bytes = 1 << 30;
        channel.slow_policy = self.policy;
        channel.queue_bytes = self.queue_bytes;
        // Who is dead for the test keeps publishers waiting for so long.
        channel.write_deadline = Duration::from_millis(700);
        if self.theme == Theme::Forgetful {
            channel.publishers_limit = 2;
        }
        if self.pings {
            settings.websocket.ping_interval = Duration::from_millis(30);
            settings.websocket.ping_timeout = Duration::from_secs(2);
        }
        settings
    }

    /// Returns the faults of a connection. `late` is what ghosts bring that are late.
    pub fn plan(&self, rng: &mut Rng, is_slow: bool, late: Late) -> Plan {
        let (stall, end) = (self.byte(rng), self.byte(rng));
        let pause = Duration::from_millis(1 + rng.below(40) as u64);
        let ghost = Ghost {
            most: Duration::from_millis(10 + rng.below(250) as u64),
            late: if rng.below(3) > 0 {
                late
            } else {
                Late::Nothing
            },
        };
        let ends = [
            End::Close,
            End::Reset,
            End::HalfClose,
            End::ResetClient(ghost),
            End::ResetClient(ghost),
            End::Silence(ghost),
        ];
        Plan {
            chunk: [1 + rng.below(60), 1 + rng.below(2000), 64 << 10][rng.below(3)],
            stall: (rng.below(3) == 0).then_some(At {
                at: stall,
                what: pause,
            }),
            end: Some(At {
                at: end,
                what: ends[rng.below(ends.len())],
            }),
            has_small_buffers: is_slow,
        }
    }

    /// Returns some byte of a connection: each order of magnitude is as likely as the others.
    fn byte(&self, rng: &mut Rng) -> Byte {
        let most = 1 << (1 + rng.below(self.magnitude));
        Byte {
            way: [Way::Up, Way::Down][rng.below(2)],
            after: rng.below(most) as u64,
        }
    }
}
