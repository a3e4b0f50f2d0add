//! Lets the actors of a run live, and its server die in between.

use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use mles::protocol::Position;
use tokio::task::{JoinSet, LocalSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use crate::common::nats::NatsServer;
use crate::common::{PATIENCE, Rng};
use crate::counter::Counter;
use crate::http::{Http, HttpPublisher};
use crate::log::{Entry, Event, Stop};
use crate::oracle::{ActorFacts, Facts, Fault, Tally, judge};
use crate::place::Place;
use crate::plain::Plain;
use crate::proxy::{Late, Plan, Proxy};
use crate::publisher::Publisher;
use crate::reader::Reader;
use crate::report::report;
use crate::scenario::{Scenario, Storage, Theme, Transport};
use crate::server::{Launch, Server};
use crate::session::Session;
use crate::shared::Shared;
use crate::store;

/// The longest time that a run may take: only one that hangs takes so long.
const DEADLINE: Duration = Duration::from_secs(180);
/// The time after which a client behind a proxy that fails gives up at first.
const IMPATIENCE: Duration = Duration::from_millis(120);

/// A run while it lasts.
struct World<'a> {
    scenario: &'a Scenario,
    place: &'a Place,
    rng: Rng,
    shared: Rc<Shared>,
    launches: Vec<Launch>,
    servers: Vec<Option<Server>>,
    /// What has the log of the fleet.
    log: Option<NatsServer>,
    /// How many have been started.
    started: usize,
    actors: Vec<ActorFacts>,
    /// Those that end by themselves.
    tasks: JoinSet<()>,
    /// Those that go on for as long as the run.
    endless: JoinSet<()>,
    /// Messages to be published in all.
    quota: usize,
}

/// Runs a seed. The error says what was not as it was promised, and where the whole log is.
pub fn run(place: &Place, scenario: &Scenario) -> Result<Tally, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let shared = Rc::new(Shared::new(scenario, place));
    let store = tempfile::tempdir().unwrap();
    let log = (scenario.storage == Storage::Fleet).then(|| NatsServer::start().unwrap());
    let url = log.as_ref().map(NatsServer::url);
    let launches = place.launches(scenario, store.path(), url.as_deref());
    launches[0].make_log();
    let mut world = World {
        scenario,
        place,
        rng: Rng(scenario.seed),
        shared: shared.clone(),
        servers: launches.iter().map(|_| None).collect(),
        launches,
        log,
        started: 0,
        actors: Vec::new(),
        tasks: JoinSet::new(),
        endless: JoinSet::new(),
        quota: 0,
    };
    let local = LocalSet::new();
    let lived = runtime.block_on(local.run_until(async {
        let lived = timeout(DEADLINE, world.live()).await;
        lived.unwrap_or_else(|_| Err(format!("it hangs: {}", world.waits_for())))
    }));
    for server in world.servers.iter_mut().filter_map(Option::take) {
        // They are there after a fault only, which is told.
        let _ = server.stop(Stop::Sudden);
    }
    let log = shared.log.borrow();
    let judged = match lived {
        Ok(last_reader) => judge(&world.facts(last_reader), &log),
        Err(what) => Err(Fault {
            at: log.iter().position(Entry::is_fault),
            what,
        }),
    };
    judged.map_err(|fault| report(scenario, &world.actors, &fault, &log))
}

impl World<'_> {
    /// Lets everybody live until they have seen everything. Returns the actor that has read everything at the end.
    async fn live(&mut self) -> Result<usize, String> {
        let own = self.add("the test", false);
        for at in 0..self.launches.len() {
            self.start(own, at).await?;
        }
        for transport in Transport::ALL {
            self.session(transport, false);
            if transport.can_publish() {
                self.session(transport, true);
            }
        }
        for _ in 0..2 {
            self.http_publisher();
        }
        self.plain_members();
        self.reader();
        self.store_watcher();
        for percent in self.scenario.restarts.clone() {
            self.wait_for_settled(self.quota * percent / 100).await?;
            match self.scenario.storage {
                Storage::Memory | Storage::Disk | Storage::DiskLater => self.restart(own).await?,
                Storage::Fleet => self.disturb(own).await?,
            }
        }
        self.wait_for_settled(self.quota).await?;
        let goal = self.finish(own).await;
        self.shared.goal.send_replace(Some(goal));
        for transport in Transport::ALL {
            self.session(transport, false);
        }
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(text_of)?;
        }
        self.endless.shutdown().await;
        let last_reader = self.read_everything().await;
        self.tell_ends(own).await;
        for at in 0..self.launches.len() {
            self.stop(own, at, Stop::Orderly).await?;
        }
        Ok(last_reader)
    }

    fn add(&mut self, name: &str, skips_junk: bool) -> usize {
        self.actors.push(ActorFacts {
            name: name.to_owned(),
            skips_junk,
            keeps_order: true,
        });
        self.actors.len() - 1
    }

    /// Returns random numbers of their own for an actor.
    fn rng(&mut self) -> Rng {
        Rng(self.rng.below(usize::MAX) as u64)
    }

    /// Makes a proxy whose connections fail, until enough have failed.
    fn proxy(&mut self, transport: Transport, is_slow: bool, late: Late) -> Proxy {
        let (mut rng, scenario) = (self.rng(), self.scenario.clone());
        let mut left = scenario.faults;
        let shared = self.shared.clone();
        let target = self.target(transport);
        Proxy::to(target, move || {
            if left == 0 || shared.goal.borrow().is_some() {
                return Plan {
                    has_small_buffers: is_slow,
                    ..Plan::CALM
                };
            }
            left -= 1;
            scenario.plan(&mut rng, is_slow, late)
        })
    }

    fn session(&mut self, transport: Transport, publishes: bool) {
        let role = if publishes { "publishes" } else { "listens" };
        let actor = self.add(&format!("{transport:?} {role}"), transport.skips_junk());
        let mut rng = self.rng();
        let is_slow = self.scenario.theme == Theme::Slow && rng.below(2) == 0;
        let publisher = publishes.then(|| {
            self.quota += self.scenario.quota as usize;
            let id = rng.below(usize::MAX) as u64;
            Publisher::new(id, actor, self.scenario.quota)
        });
        let late = if self.scenario.late_joins {
            Late::Everything
        } else {
            Late::BehindWelcome
        };
        let session = Session {
            shared: self.shared.clone(),
            actor,
            transport,
            proxy: self.proxy(transport, is_slow, late),
            publisher,
            has_fixed_cid: rng.below(2) == 0,
            slowness: Duration::from_millis(if is_slow { 4 } else { 0 }),
            members: (rng.below(3) == 0).then(|| [0, 3, 100][rng.below(3)]),
            rng,
            counter: Counter::default(),
        };
        self.tasks.spawn_local(session.run());
    }

    fn http_publisher(&mut self) {
        let actor = self.add("HTTP publishes", false);
        self.quota += self.scenario.quota as usize;
        let asks_again = self.scenario.theme != Theme::Forgetful;
        self.actors[actor].keeps_order = asks_again;
        let publisher = HttpPublisher {
            shared: self.shared.clone(),
            actor,
            http: Http::new(
                self.proxy(Transport::Events, false, Late::Everything),
                IMPATIENCE,
            ),
            rng: self.rng(),
            quota: self.scenario.quota,
            asks_again,
        };
        self.tasks.spawn_local(publisher.run());
    }

    fn plain_members(&mut self) {
        let listener = Plain {
            shared: self.shared.clone(),
            actor: self.add("plain listens", false),
            proxy: self.calm_proxy(Transport::Tcp),
            rng: self.rng(),
        };
        self.endless.spawn_local(listener.listen());
        let actor = self.add("plain publishes", false);
        self.actors[actor].keeps_order = false;
        let publisher = Plain {
            shared: self.shared.clone(),
            actor,
            proxy: self.proxy(Transport::Tcp, false, Late::Everything),
            rng: self.rng(),
        };
        self.quota += self.scenario.quota as usize;
        self.tasks
            .spawn_local(publisher.publish(self.scenario.quota));
    }

    fn calm_proxy(&mut self, transport: Transport) -> Proxy {
        Proxy::to(self.target(transport), || Plan::CALM)
    }

    /// Returns what chooses a server for each connection.
    fn target(&mut self, transport: Transport) -> impl FnMut() -> SocketAddr + use<> {
        let servers = self.place.servers();
        let addresses: Vec<_> = servers.iter().map(|server| server.of(transport)).collect();
        let mut rng = self.rng();
        move || addresses[rng.below(addresses.len())]
    }

    fn reader(&mut self) {
        let reader = Reader {
            shared: self.shared.clone(),
            actor: self.add("HTTP reads", true),
            http: Http::new(
                self.proxy(Transport::Events, false, Late::Everything),
                IMPATIENCE,
            ),
            rng: self.rng(),
            since: None,
        };
        self.tasks.spawn_local(reader.run());
    }

    /// Has it written down how much is on disk, where others do not wait for that.
    fn store_watcher(&mut self) {
        if self.scenario.storage != Storage::DiskLater {
            return;
        }
        let actor = self.add("the store", false);
        let target = self.place.admin;
        let admin = Http::new(Proxy::to(move || target, || Plan::CALM), PATIENCE);
        let watch = store::watch(self.shared.clone(), actor, admin);
        self.endless.spawn_local(watch);
    }

    /// Tells how far each order went on that is over.
    async fn tell_ends(&mut self, own: usize) {
        if self.scenario.storage != Storage::DiskLater {
            return;
        }
        let mut ends = Vec::new();
        for epoch in self.shared.epochs() {
            let server = self.place.servers()[0].tcp;
            ends.push((epoch, store::end_of(epoch, server, own).await));
        }
        self.shared.log(own, Event::Ends(ends));
    }

    /// Waits until so many messages are settled. Nobody may have failed meanwhile.
    async fn wait_for_settled(&mut self, messages: usize) -> Result<(), String> {
        let mut settled = self.shared.settled.subscribe();
        let mut enough = pin!(settled.wait_for(|settled| *settled >= messages));
        loop {
            tokio::select! {
                _ = &mut enough => return Ok(()),
                Some(ended) = self.tasks.join_next() => ended.map_err(text_of)?,
                Some(ended) = self.endless.join_next() => ended.map_err(text_of)?,
            }
        }
    }

    /// Stops the server, in order or at once, and starts it again where it was.
    async fn restart(&mut self, own: usize) -> Result<(), String> {
        self.shared.may_join.send_replace(false);
        let is_on_disk = self.scenario.storage != Storage::Memory;
        if is_on_disk {
            let more = self.rng.below(40) as u64;
            sleep(Duration::from_millis(more)).await;
        }
        let is_sudden = if is_on_disk {
            self.rng.below(5) > 0
        } else {
            self.rng.below(2) == 0
        };
        let how = if is_sudden {
            Stop::Sudden
        } else {
            Stop::Orderly
        };
        self.stop(own, 0, how).await?;
        let rest = self.rng.below(30) as u64;
        sleep(Duration::from_millis(rest)).await;
        let mut listens = self.shared.listens.subscribe();
        listens.wait_for(|listens| !listens).await.unwrap();
        if is_on_disk && self.rng.below(3) == 0 {
            let (launch, life) = (self.launches[0].clone(), self.rng.below(150) as u64);
            let life = Duration::from_millis(life);
            let killed = spawn_blocking(move || launch.start_and_kill(life)).await;
            killed.map_err(text_of)?;
            self.shared.log(own, Event::Stop(Stop::Sudden));
        }
        self.start(own, 0).await
    }

    /// Kills, stops or pauses one of the nodes, or the server that has their log. The others go on.
    async fn disturb(&mut self, own: usize) -> Result<(), String> {
        let at = self.rng.below(self.launches.len());
        let more = Duration::from_millis(self.rng.below(40) as u64);
        sleep(more).await;
        let rest = Duration::from_millis(self.rng.below(300) as u64);
        match self.rng.below(6) {
            what @ 0..=2 => {
                let how = if what == 0 {
                    Stop::Orderly
                } else {
                    Stop::Sudden
                };
                self.stop(own, at, how).await?;
                sleep(rest).await;
                self.start(own, at).await
            }
            3 => {
                let server = self.servers[at].take().unwrap();
                let long = Duration::from_millis(self.rng.below(3000) as u64);
                let paused = spawn_blocking(move || {
                    server.pause(long);
                    server
                });
                self.servers[at] = Some(paused.await.map_err(text_of)?);
                Ok(())
            }
            what => {
                let mut log = self.log.take().unwrap();
                let long = Duration::from_millis(self.rng.below(3000) as u64);
                let disturbed = spawn_blocking(move || {
                    if what == 4 {
                        log.kill();
                        std::thread::sleep(rest);
                        log.restart();
                    } else {
                        log.pause();
                        std::thread::sleep(long);
                        log.resume();
                    }
                    log
                });
                self.log = Some(disturbed.await.map_err(text_of)?);
                Ok(())
            }
        }
    }

    async fn start(&mut self, own: usize, at: usize) -> Result<(), String> {
        let launch = self.launches[at].clone();
        let started = spawn_blocking(move || launch.start()).await;
        self.servers[at] = Some(started.map_err(text_of)??);
        self.tell_epoch(own).await;
        self.started += 1;
        self.shared.server.set(Some(self.started));
        Ok(())
    }

    /// Stops a server. It must have been well until then.
    async fn stop(&mut self, own: usize, at: usize, how: Stop) -> Result<(), String> {
        self.shared.server.set(None);
        self.shared.log(own, Event::Stop(how));
        let server = self.servers[at].take().unwrap();
        spawn_blocking(move || server.stop(how)).await.unwrap()
    }

    /// Asks for the epoch of the channel, then lets the member in that does not ask.
    async fn tell_epoch(&mut self, own: usize) {
        let mut reader = self.last_reader(own);
        loop {
            if let Some(page) = reader.read().await {
                self.shared.log(own, Event::Server(page.next.epoch));
                break;
            }
        }
        self.shared.may_join.send_replace(true);
    }

    /// Returns a reader that begins at the beginning.
    fn last_reader(&mut self, actor: usize) -> Reader {
        Reader {
            shared: self.shared.clone(),
            actor,
            http: Http::new(self.calm_proxy(Transport::Events), PATIENCE),
            rng: self.rng(),
            since: None,
        }
    }

    /// Publishes the last message, and returns its position.
    async fn finish(&mut self, own: usize) -> Position {
        let last = HttpPublisher {
            shared: self.shared.clone(),
            actor: own,
            http: Http::new(self.calm_proxy(Transport::Events), PATIENCE),
            rng: self.rng(),
            quota: 1,
            asks_again: true,
        };
        last.run().await;
        let log = self.shared.log.borrow();
        let posted = log.iter().rev().find_map(|entry| match entry.event {
            Event::Posted { last, .. } if entry.actor == own => Some(last),
            _ => None,
        });
        posted.unwrap()
    }

    async fn read_everything(&mut self) -> usize {
        let actor = self.add("reads everything", true);
        let mut reader = self.last_reader(actor);
        loop {
            let Some(page) = reader.read().await else {
                continue;
            };
            let is_end = reader.since == Some(page.next);
            reader.since = Some(page.next);
            self.shared.log(actor, Event::Page(page));
            if is_end {
                return actor;
            }
        }
    }

    fn facts(&self, last_reader: usize) -> Facts {
        use mles::channel::SlowPolicy::DropOldest;
        Facts {
            history: self.scenario.history,
            storage: self.scenario.storage,
            drops: self.scenario.theme == Theme::Slow && self.scenario.policy == DropOldest,
            forgets: self.scenario.forgets(),
            actors: self.actors.clone(),
            last_reader,
        }
    }

    fn waits_for(&self) -> String {
        let settled = *self.shared.settled.borrow();
        format!(
            "{settled} of {} messages are settled, {} actors have not ended",
            self.quota,
            self.tasks.len()
        )
    }
}

/// Returns what an actor has said when it failed.
fn text_of(error: tokio::task::JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else {
        return "an actor was ended".to_owned();
    };
    let text = panic.downcast_ref::<String>().cloned();
    text.unwrap_or_else(|| "an actor has failed".to_owned())
}
