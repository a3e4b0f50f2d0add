//! A simulated fleet: nodes over a log in memory, publishers that move between them, and an oracle.
//!
//! Everything comes from a seed: faults of the log, crashes, cuts, pauses, lost records, and what clients do. After every
//! step the oracle compares what nodes have decided with what one that has read the whole log decides ([`Oracle`]). In the end
//! all is mended, and everything that was published has its place once, unless its publisher was told that nobody knows.
//!
//! `MLES_TEST_SEED=7` runs that seed alone, `MLES_TEST_SEEDS=500` so many.

#![allow(
    clippy::disallowed_macros,
    reason = "a run tells its seed, and what has happened in it"
)]

mod node;
mod oracle;
mod publisher;
mod request;

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{FIRST_EPOCH, START_MS};
use crate::log::memory::{Faults, MemoryEngine};
use crate::order::{FleetEpoch, Sequence};
use crate::protocol::Epoch;
use node::{News, Node};
use oracle::Oracle;
use publisher::Publisher;
use request::Request;

/// Number of nodes of a fleet.
const NODES: usize = 3;
/// Steps before all is mended.
const STEPS: usize = 600;
/// Steps in which all has to come to an end then.
const PATIENCE: usize = 20_000;
/// The log keeps records for so long, in milliseconds.
const MAX_AGE_MS: u64 = 40 * 60_000;

/// Returns the seeds to run, of which there are `usual` if nobody asks for others.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let given = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    match (given("MLES_TEST_SEED"), given("MLES_TEST_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(count)) => 0..count,
        (None, None) => 0..usual,
    }
}

/// What may go wrong in a run.
#[derive(Clone, Copy, Debug)]
struct Theme {
    faults: Faults,
    /// How often something happens to a node or to the whole log, of a thousand steps.
    trouble: u32,
    /// `true` if the log may lose records.
    may_lose: bool,
}

/// A fleet, its clients and its log.
struct World {
    rng: StdRng,
    theme: Theme,
    engine: Arc<MemoryEngine>,
    nodes: Vec<Node>,
    publishers: Vec<Publisher>,
    requests: Vec<Request>,
    oracle: Oracle,
    now_ms: u64,
    /// Names whatever has to have a name of its own.
    names: u64,
}

impl World {
    fn new(seed: u64, theme: Theme) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let engine = MemoryEngine::with_own_time(FIRST_EPOCH, rng.random(), theme.faults, START_MS);
        let nodes = (1..=NODES as u64).map(|name| Node::new(engine.clone(), name));
        Self {
            theme,
            nodes: nodes.collect(),
            publishers: (0..4).map(Publisher::new).collect(),
            requests: Vec::new(),
            oracle: Oracle::new(),
            now_ms: START_MS,
            names: 1000,
            engine,
            rng,
        }
    }

    fn name(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    fn one_of(&mut self, of_thousand: u32) -> bool {
        self.rng.random_range(0..1000) < of_thousand
    }

    fn pass(&mut self, ms: std::ops::Range<u64>) {
        let ms = self.rng.random_range(ms);
        self.now_ms += ms;
        self.engine.pass(ms);
    }

    /// Does one thing.
    fn step(&mut self) {
        if self.one_of(self.theme.trouble) {
            self.trouble();
        }
        self.pass(0..2000);
        self.engine.keep_within(MAX_AGE_MS);
        match self.rng.random_range(0..10) {
            0..=1 => self.use_publisher(),
            2 => self.use_request(),
            _ => {}
        }
        let at = self.rng.random_range(0..NODES);
        self.run_node(at);
    }

    fn run_node(&mut self, at: usize) {
        let engine = (&*self.engine, self.now_ms);
        let news = self.nodes[at].run(&mut self.rng, &mut self.oracle, engine);
        for news in news {
            self.tell(at, news);
        }
        self.oracle.read(&self.engine);
    }

    /// Passes on what a node has to say to its clients.
    fn tell(&mut self, at: usize, news: News) {
        match news {
            News::Seated { publisher, .. }
            | News::Placed { publisher, .. }
            | News::Fenced { publisher, .. } => {
                let publisher = usize::try_from(publisher).expect("few");
                self.publishers[publisher].hear(at, &news, &mut self.oracle);
            }
            News::Answered { request, .. } => {
                let request = self.requests.iter_mut().find(|known| known.name == request);
                if let Some(request) = request {
                    request.hear(&news, &self.oracle);
                }
            }
            News::AllEnded => {
                for publisher in &mut self.publishers {
                    publisher.lose(at);
                }
            }
        }
    }

    /// Has something happen to a node, or to the whole log.
    fn trouble(&mut self) {
        let at = self.rng.random_range(0..NODES);
        match self.rng.random_range(0..100) {
            0..25 => self.nodes[at].cut(),
            25..50 => self.nodes[at].reconnect(),
            50..65 => self.crash(at),
            65..75 => self.engine.forget_ids(),
            75..82 => self.engine.append_delayed(),
            // The engine stands still.
            82..90 => self.pass(20_000..100_000),
            90..93 => self.pass(100_000..20 * 60_000),
            _ if self.theme.may_lose => self.lose_records(),
            _ => {}
        }
    }

    fn lose_records(&mut self) {
        self.oracle.read(&self.engine);
        if self.one_of(200) {
            let id = Epoch(self.name());
            let epoch = FleetEpoch { number: 1, id };
            self.engine.make_anew(epoch);
            return self.oracle.lose(Sequence(0), epoch);
        }
        let lost = self.rng.random_range(1..6);
        let last = Sequence(self.oracle.last().0.saturating_sub(lost));
        self.engine.roll_back(last);
        let epoch = self.oracle.made_with();
        self.oracle.lose(last, epoch);
    }

    fn crash(&mut self, at: usize) {
        let name = self.name();
        self.nodes[at] = Node::new(self.engine.clone(), name);
        for publisher in &mut self.publishers {
            publisher.lose(at);
        }
    }

    fn use_publisher(&mut self) {
        let which = self.rng.random_range(0..self.publishers.len());
        let at = self.rng.random_range(0..NODES);
        let session = self.name();
        let publisher = &mut self.publishers[which];
        publisher.act(
            &mut self.rng,
            (at, session),
            &mut self.nodes,
            &mut self.oracle,
        );
    }

    fn use_request(&mut self) {
        let at = self.rng.random_range(0..NODES);
        let now_ms = self.now_ms;
        let waits = self.requests.iter().position(Request::waits);
        match waits {
            Some(index) if self.requests.len() > 3 || self.one_of(500) => {
                let ticket = self.name();
                self.requests[index].repeat(&mut self.nodes[at], ticket, now_ms);
            }
            _ => {
                let (name, ticket) = (self.name(), self.name());
                let mut request = Request::new(name, now_ms);
                request.repeat(&mut self.nodes[at], ticket, now_ms);
                self.requests.retain(Request::waits);
                self.requests.push(request);
            }
        }
    }

    /// Mends everything, and waits until everything is decided.
    fn settle(&mut self) {
        self.engine.set_faults(Faults::default());
        self.engine.append_delayed();
        for node in &mut self.nodes {
            node.reconnect();
        }
        for step in 0..PATIENCE {
            if step % 20 == 0 && self.is_settled() {
                return;
            }
            self.pass(0..2000);
            self.engine.keep_within(MAX_AGE_MS);
            let which = self.rng.random_range(0..self.publishers.len());
            if self.one_of(300) {
                let at = self.rng.random_range(0..NODES);
                let session = self.name();
                let publisher = &mut self.publishers[which];
                publisher.finish((at, session), &mut self.nodes, &mut self.oracle);
            }
            let at = self.rng.random_range(0..NODES);
            self.run_node(at);
        }
        panic!("it does not come to an end");
    }

    fn is_settled(&self) -> bool {
        let last = self.oracle.last();
        self.publishers.iter().all(Publisher::is_done)
            && self
                .nodes
                .iter()
                .all(|node| node.is_idle() && node.last() == last)
    }

    fn check_end(&self) {
        for node in &self.nodes {
            self.oracle.check_channels(node);
        }
        for publisher in &self.publishers {
            publisher.check_end(&self.oracle);
        }
    }
}

/// Runs a theme with many seeds.
fn run(theme: Theme, usual: u64) {
    let mut total = oracle::Total::default();
    for seed in seeds(usual) {
        let _told = SeedTold(seed);
        let mut world = World::new(seed, theme);
        for _ in 0..STEPS {
            world.step();
        }
        world.settle();
        world.check_end();
        total.add(&world.oracle);
    }
    println!("{total:?}");
    if seeds(usual).end >= usual {
        total.check();
    }
}

/// Says which seed has failed.
struct SeedTold(u64);

impl Drop for SeedTold {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("failed with MLES_TEST_SEED={}", self.0);
        }
    }
}

const MANY_FAULTS: Faults = Faults {
    lost: 100,
    unanswered: 100,
    delayed: 100,
    doubled: 100,
    broken: 20,
};

#[test]
fn all_nodes_have_one_order_whatever_happens_to_them() {
    let theme = Theme {
        faults: MANY_FAULTS,
        trouble: 40,
        may_lose: false,
    };
    run(theme, 200);
}

#[test]
fn all_nodes_agree_on_an_epoch_when_the_log_has_lost_records() {
    let theme = Theme {
        faults: MANY_FAULTS,
        trouble: 40,
        may_lose: true,
    };
    run(theme, 200);
}
