//! Building the shards of a broker and running each on its thread.

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use core_affinity::CoreId;
use tokio::runtime::Builder;
use tokio::sync::mpsc;

use super::backlog::MailboxMeters;
use super::fleet::FleetSeed;
use super::held::HeldTotal;
use super::ids::ShardId;
use super::inbox::Inbox;
use super::input::Scratch;
use super::inspect::{self, Inspection};
use super::latency::LatencySampler;
use super::live::ReadLimits;
use super::log_limiter::LogLimiter;
use super::mailbox::{Outlet, mailbox};
use super::message::{Delivery, Request};
use super::pause::Pause;
use super::registry::Registry;
use super::reload::ShardMemory;
use super::sampler::StalledMembers;
use super::storing::{OpenStore, RestoredStore};
use super::turn::Lane;
use super::wake::Wake;
use super::{BrokerPhase, Common, Shard};
use crate::fleet::{FleetEvent, OpenFleet};
use crate::settings::Settings;
use crate::tcp_info::TcpInspector;
use crate::tls::ClientTls;

/// Tasks that the runtime polls before it looks at the sockets again. None of them takes long: see
/// `turn`.
const EVENT_INTERVAL: u32 = 16;

/// A shard before it has a thread.
#[derive(Debug)]
pub(crate) struct Seed {
    id: ShardId,
    common: Arc<Common>,
    inbox: Inbox,
    requests: Vec<Outlet<Request>>,
    deliveries: Vec<Outlet<Delivery>>,
    /// Questions of the admin listener.
    inspections: mpsc::Receiver<Inspection>,
    core: Option<CoreId>,
    store: Option<RestoredStore>,
    fleet: Option<FleetSeed>,
}

/// Makes the shards of a broker and the queues between them. They begin with what was in the store, or is in the log of the
/// fleet, if there is one.
pub(crate) fn seeds(
    settings: Settings,
    peer_tls: Option<ClientTls>,
    shards: u16,
    store: Option<OpenStore>,
    fleet: Option<(&OpenFleet, Vec<mpsc::Receiver<FleetEvent>>)>,
) -> (Arc<Common>, Vec<Seed>) {
    let count = usize::from(shards);
    let cores = if settings.pin {
        core_affinity::get_core_ids()
    } else {
        None
    };
    let cores = cores.unwrap_or_default();
    let wakes: Vec<_> = (0..count).map(|_| Arc::new(Wake::new())).collect();
    let mut meters = MailboxMeters::default();
    let mut requests: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
    let mut deliveries: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
    let mut inboxes = Vec::new();
    for wake in &wakes {
        let (requests_in, outlets) = mailbox(count, wake);
        meters.requests.extend(outlets.first().map(Outlet::meter));
        requests
            .iter_mut()
            .zip(outlets)
            .for_each(|(to, outlet)| to.push(outlet));
        let (deliveries_in, outlets) = mailbox(count, wake);
        meters.deliveries.extend(outlets.first().map(Outlet::meter));
        deliveries
            .iter_mut()
            .zip(outlets)
            .for_each(|(to, outlet)| to.push(outlet));
        inboxes.push(Inbox {
            requests: requests_in,
            deliveries: deliveries_in,
        });
    }
    let questions = (0..count).map(|_| mpsc::channel(inspect::WAITING));
    let (inspectors, inspections): (Vec<_>, Vec<_>) = questions.unzip();
    let common = Common::new(
        settings,
        peer_tls,
        wakes,
        meters,
        inspectors,
        store.as_ref(),
        fleet.as_ref().map(|(fleet, _)| *fleet),
    );
    let common = Arc::new(common);
    let mut stores = store.map(|store| store.divide(&common).into_iter());
    let mut fleets = fleet.map(|(fleet, events)| {
        let handle = &fleet.handle;
        let events = events.into_iter();
        events.map(|events| FleetSeed::new(handle.clone(), events))
    });
    let queues = requests.into_iter().zip(deliveries).zip(inspections);
    let seeds = (0..shards).zip(inboxes).zip(queues);
    let seeds = seeds.map(
        |((id, inbox), ((requests, deliveries), inspections))| Seed {
            id: ShardId(id),
            common: common.clone(),
            inbox,
            requests,
            deliveries,
            inspections,
            // More shards than cores share them.
            core: (!cores.is_empty()).then(|| cores[usize::from(id) % cores.len()]),
            store: stores.as_mut().and_then(Iterator::next),
            fleet: fleets.as_mut().and_then(Iterator::next),
        },
    );
    let seeds = seeds.collect();
    (common, seeds)
}

/// What tasks of a shard take messages from.
struct Queues {
    inbox: Inbox,
    inspections: mpsc::Receiver<Inspection>,
    fleet: Option<mpsc::Receiver<FleetEvent>>,
}

impl Seed {
    /// Returns the id of the shard that it will be.
    pub(crate) fn id(&self) -> ShardId {
        self.id
    }

    /// Runs the shard on this thread until the broker stops. `setup` is called once on the shard's
    /// runtime, to start what brings connections in.
    ///
    /// # Errors
    ///
    /// The system refuses what a runtime needs, or `setup` fails.
    pub(crate) fn run(self, setup: impl FnOnce(&Rc<Shard>) -> io::Result<()>) -> io::Result<()> {
        let id = self.id;
        if let Some(core) = self.core
            && !core_affinity::set_for_current(core)
        {
            tracing::warn!(
                shard = self.id.0,
                core = core.id,
                "cannot bind the shard to its core"
            );
        }
        let runtime = Builder::new_current_thread()
            .enable_all()
            .event_interval(EVENT_INTERVAL)
            .build_local(Default::default())?;
        let common = self.common.clone();
        common.stats[id.index()].processor.is_this_thread();
        let result = runtime.block_on(async {
            let (shard, queues) = self.grow();
            let Queues {
                inbox,
                inspections,
                fleet,
            } = queues;
            shard.spawn(shard.clone().receive_forever(inbox));
            shard.spawn(shard.clone().flush_forever());
            shard.spawn(shard.clone().keep_lane_forever());
            shard.spawn(shard.clone().sweep_forever());
            shard.spawn(shard.clone().expire_forever());
            shard.spawn(shard.clone().sample_forever());
            if shard.store.is_some() {
                shard.spawn(shard.clone().save_forever());
            }
            if let Some(events) = fleet {
                shard.spawn(shard.clone().apply_forever(events));
            }
            if !shard.common.settings().admin.listen.is_empty() {
                shard.spawn(shard.clone().inspect_forever(inspections));
                shard.spawn(shard.clone().measure_forever());
            }
            shard.caught_up_with_fleet().await;
            setup(&shard)?;
            shard.common.accepting.fetch_add(1, Ordering::AcqRel);
            shard.live().await;
            Ok(())
        });
        common.stats[id.index()].turn.stop();
        result
    }

    fn grow(self) -> (Rc<Shard>, Queues) {
        let settings = self.common.settings();
        let memory = ShardMemory::new(&settings.limits, self.common.shards());
        let mut registry = Registry::new(memory.history);
        let store = self
            .store
            .map(|store| store.restore(self.id, &self.common, &mut registry));
        let (fleet, events) = self.fleet.map(|fleet| fleet.grow(&settings.limits)).unzip();
        let shard = Shard {
            id: self.id,
            log: LogLimiter::default(),
            read_limits: Cell::new(ReadLimits::new(&settings)),
            generation: Cell::new(0),
            registry: RefCell::new(registry),
            scratch: RefCell::new(Scratch::new(memory.partial)),
            join_scratch: RefCell::new(Scratch::new(memory.partial)),
            requests: self.requests,
            deliveries: self.deliveries,
            congestion: Pause::default(),
            merging: RefCell::default(),
            parked: RefCell::default(),
            takeovers: RefCell::default(),
            tcp_inspector: TcpInspector::default(),
            behind: Cell::new(0),
            lets_go: Cell::new(false),
            expiries: Rc::default(),
            flusher: RefCell::new(None),
            lane: Lane::default(),
            sessions: Cell::new(0),
            latency: LatencySampler::default(),
            stalled: StalledMembers::default(),
            held: HeldTotal::default(),
            store,
            fleet,
            common: self.common,
        };
        let queues = Queues {
            inbox: self.inbox,
            inspections: self.inspections,
            fleet: events,
        };
        (Rc::new(shard), queues)
    }
}

impl Shard {
    /// Waits until the broker stops, and takes part in its draining.
    async fn live(self: &Rc<Self>) {
        self.reached(BrokerPhase::Unready).await;
        self.hold_out().await;
        tokio::select! {
            () = self.drain() => {}
            () = self.reached(BrokerPhase::Stopped) => return,
        }
        self.common.drained();
        self.reached(BrokerPhase::Stopped).await;
    }

    /// Waits until the broker has come to `phase` or beyond. Cancel safe.
    pub(super) async fn reached(&self, phase: BrokerPhase) {
        self.common.reached(phase).await;
    }
}
