//! A few linked servers with a faulty network between them, and members on each.

use std::collections::BTreeSet;
use std::time::Duration;

use mles::{Broker, Settings};

use super::proxy::{Cut, Mode, Proxy};
use super::{
    Publisher, Recorder, all_sent, expect_history, link, peer_settings, start_at, wait_for_link,
};
use crate::common::{Rng, Server as _, free_address, wait_until};

/// Which servers there are: for each but the first, the root, which one is its upstream.
pub type Shape = &'static [usize];

/// A root and two servers below it.
pub const STAR: Shape = &[0, 0];
/// A root, a server below it, and one below that.
pub const CHAIN: Shape = &[0, 1];

/// Linked servers, each link through a proxy of its own; on each server a member that publishes
/// and one that writes down what it gets.
pub struct World {
    pub servers: Vec<Broker>,
    /// In front of the upstream of the second server and of those behind it.
    pub proxies: Vec<Proxy>,
    /// By server, like the recorders.
    pub publishers: Vec<Publisher>,
    pub recorders: Vec<Recorder>,
    settings: Vec<Settings>,
    /// The number of the last member to join.
    joined: u32,
    restarted: BTreeSet<usize>,
}

impl World {
    pub fn new(shape: Shape, adjust: impl Fn(&mut Settings)) -> Self {
        let mut world = Self {
            servers: Vec::new(),
            proxies: Vec::new(),
            publishers: Vec::new(),
            recorders: Vec::new(),
            settings: Vec::new(),
            joined: 0,
            restarted: BTreeSet::new(),
        };
        world.add(None, &adjust);
        for &upstream in shape {
            world.add(Some(upstream), &adjust);
        }
        world.wait_for_links();
        world
    }

    /// Lets the network fail in many ways, one after the other, and checks what comes of it. Where
    /// the members are, on the shards of their channels or on others, is left to chance as well.
    pub fn suffer(shape: Shape, rng: Rng) {
        Self::suffer_with(shape, rng, |_, _| {});
    }

    /// Like [`Self::suffer`], and does `also` between the faults.
    pub fn suffer_with(shape: Shape, mut rng: Rng, also: impl Fn(&mut Self, &mut Rng)) {
        let (shards, is_spread) = (1 + rng.below(3), rng.below(2) == 0);
        let mut world = Self::new(shape, |settings| {
            settings.shards = Some(shards);
            if is_spread {
                settings.spread_threshold = 0;
            }
        });
        for _ in 0..15 {
            world.random_fault(&mut rng);
            also(&mut world, &mut rng);
        }
        world.converges();
    }

    fn add(&mut self, upstream: Option<usize>, adjust: impl Fn(&mut Settings)) {
        let proxy = upstream.map(|upstream| Proxy::to(self.servers[upstream].address()));
        let addresses: Vec<_> = proxy.iter().map(|proxy| proxy.address).collect();
        let mut settings = peer_settings(&addresses);
        adjust(&mut settings);
        let server = start_at(free_address(), settings.clone());
        self.proxies.extend(proxy);
        self.settings.push(settings);
        self.joined += 10;
        let number = self.joined;
        let (recorder, publisher) = (format!("r{number}"), format!("p{number}"));
        self.recorders
            .push(Recorder::join(&server, &recorder, number));
        self.publishers
            .push(Publisher::join(&server, &publisher, number + 1));
        self.servers.push(server);
    }

    /// Publishes once on every server.
    pub fn publish(&mut self) {
        self.publishers.iter_mut().for_each(Publisher::publish);
    }

    /// Publishes on all servers for a while.
    pub fn publish_during(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.publish();
            // Paces the test; nothing depends on it.
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Kills a server and starts it again on the same address, with nothing in it and with new
    /// members. What the old ones have published must be somewhere else by then, or it is lost.
    pub fn restart(&mut self, at: usize) {
        self.restarted.insert(at);
        let fragile = self.restarted.iter().map(|&at| &self.publishers[at]);
        let fragile = all_sent(fragile);
        let others = (0..self.servers.len()).filter(|&other| other != at);
        for other in others {
            let what = "what only servers had that have lost their memory is elsewhere";
            wait_until(what, || self.recorders[other].has_all(&fragile));
        }
        let settings = self.settings[at].clone();
        let address = self.servers[at].address();
        // Two listeners on one address would share its connections: the old one goes first.
        drop(self.servers.remove(at));
        if let Some(link) = at.checked_sub(1) {
            // What it had on its way is lost with it, as with a machine that dies.
            self.proxies[link].cut(Cut::Reset);
        }
        let server = start_at(address, settings);
        self.joined += 10;
        let number = self.joined;
        self.recorders[at] = Recorder::join(&server, &format!("new r{number}"), number);
        self.publishers[at].rejoin(&server, number + 1);
        self.servers.insert(at, server);
    }

    /// Restarts a server, or none.
    pub fn restart_sometimes(&mut self, rng: &mut Rng) {
        if rng.below(4) == 0 {
            self.restart(rng.below(self.servers.len()));
        }
    }

    pub fn wait_for_links(&self) {
        self.servers[1..].iter().for_each(wait_for_link);
    }

    /// The faults are over: everything is everywhere, once, and stays so.
    pub fn converges(mut self) {
        for proxy in &self.proxies {
            proxy.cut_after(usize::MAX >> 2);
            proxy.set(Mode::Pass);
        }
        self.publish();
        self.wait_for_links();
        self.publish();
        let sent = all_sent(&self.publishers);
        self.recorders
            .iter()
            .for_each(|recorder| recorder.expect(&sent));
        for (number, server) in (9000..).zip(&self.servers) {
            expect_history(server, number, &sent);
        }
        let stayed = |at: &usize| !self.restarted.contains(at);
        for at in (0..self.servers.len()).filter(stayed) {
            let (recorder, publisher) = (&self.recorders[at], &self.publishers[at]);
            let got = recorder.got();
            let own = got.iter().filter(|text| publisher.sent().contains(text));
            assert!(own.eq(publisher.sent()), "in order");
        }
        for server in &self.servers[1..] {
            assert_eq!(link(server).unwrap().counts.frames_lost, 0);
        }
    }

    /// One fault of some kind at one of the links, for some rounds of publishing, and sometimes a
    /// time without.
    pub fn random_fault(&mut self, rng: &mut Rng) {
        let which = rng.below(self.proxies.len());
        let proxy = &self.proxies[which];
        match rng.below(9) {
            0 => {
                let mut delay = || Duration::from_millis(rng.below(20) as u64);
                let (up, down) = (delay(), delay());
                proxy.set(Mode::Delay { up, down });
            }
            1 => proxy.set(Mode::Throttle(1 + rng.below(300))),
            2 => proxy.set(Mode::Stall),
            3 => proxy.set(Mode::Swallow),
            4 => proxy.cut(Cut::Close),
            5 => proxy.cut(Cut::Reset),
            6 | 7 => {
                let magnitude = 4 + rng.below(14);
                proxy.cut_after(rng.below(1 << magnitude));
            }
            _ => {
                proxy.set(Mode::Refuse);
                proxy.cut(Cut::Reset);
            }
        }
        self.publish_during(3 + rng.below(20));
        self.proxies[which].set(Mode::Pass);
        if rng.below(2) == 0 {
            self.publish_during(rng.below(15));
        }
    }
}
