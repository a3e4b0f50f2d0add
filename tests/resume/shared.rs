//! What all actors of a run know.

use std::cell::{Cell, RefCell};

use mles::client::ClientTls;
use mles::protocol::{Epoch, Position};
use tokio::io;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::log::{Entry, Event};
use crate::payload::Lengths;
use crate::place::Place;
use crate::scenario::Scenario;

/// TLS of clients.
pub struct Tls(ClientTls);

impl Tls {
    pub async fn connect(
        &self,
        stream: TcpStream,
    ) -> io::Result<impl io::AsyncRead + io::AsyncWrite + use<>> {
        self.0.connect("localhost", stream).await
    }
}

/// What all actors of a run know.
pub struct Shared {
    pub log: RefCell<Vec<Entry>>,
    /// A position that somebody knows: the newest, unless the server has just been started again.
    pub floor: Cell<Option<Position>>,
    /// Set when everything is published: up to there everybody has to come.
    pub goal: watch::Sender<Option<Position>>,
    /// Number of messages that have their place, or of which nobody can tell.
    pub settled: watch::Sender<usize>,
    /// Set while the member that does not ask may join, so that it is known in which epoch each of its sessions is.
    pub may_join: watch::Sender<bool>,
    /// Set while it has a session.
    pub listens: watch::Sender<bool>,
    /// Number of the server that runs; `None` while none does.
    pub server: Cell<Option<usize>>,
    pub lengths: Lengths,
    pub tls: Tls,
}

impl Shared {
    pub fn new(scenario: &Scenario, place: &Place) -> Self {
        Self {
            log: RefCell::default(),
            floor: Cell::default(),
            goal: watch::Sender::new(None),
            settled: watch::Sender::new(0),
            may_join: watch::Sender::new(false),
            listens: watch::Sender::new(false),
            server: Cell::default(),
            lengths: scenario.lengths,
            tls: Tls(place.client.clone()),
        }
    }

    pub fn log(&self, actor: usize, event: Event) {
        self.log.borrow_mut().push(Entry { actor, event });
    }

    /// Ends the run, as what an actor has got is not as it was promised.
    pub fn fail(&self, actor: usize, fault: &str) -> ! {
        self.log(actor, Event::Fault(fault.to_owned()));
        panic!("actor {actor}: {fault}");
    }

    pub fn raise_floor(&self, position: Option<Position>) {
        let is_newer = |position: &Position| {
            let floor = self.floor.get();
            floor
                .is_none_or(|floor| floor.epoch != position.epoch || floor.offset < position.offset)
        };
        if let Some(position) = position.filter(is_newer) {
            self.floor.set(Some(position));
        }
    }

    /// Returns the epochs that anybody has seen before the one that the server has now.
    pub fn epochs(&self) -> Vec<Epoch> {
        let log = self.log.borrow();
        let mut seen = Vec::new();
        let mut newest = None;
        for entry in log.iter() {
            let epoch = match &entry.event {
                Event::Server(epoch) => {
                    newest = Some(*epoch);
                    *epoch
                }
                Event::Welcome(welcome) => welcome.position.epoch,
                Event::Receipt { receipt, .. } => receipt.position.epoch,
                Event::Posted { last, .. } => last.epoch,
                Event::Page(page) => page.next.epoch,
                _ => continue,
            };
            if !seen.contains(&epoch) {
                seen.push(epoch);
            }
        }
        seen.retain(|epoch| Some(*epoch) != newest);
        seen
    }

    pub fn is_goal(&self, position: Option<Position>) -> bool {
        let goal = *self.goal.borrow();
        goal.zip(position).is_some_and(|(goal, position)| {
            goal.epoch == position.epoch && goal.offset <= position.offset
        })
    }

    pub fn count_settled(&self, messages: usize) {
        self.settled.send_modify(|settled| *settled += messages);
    }
}
