//! A crowd that moves from a server that drains to the one above it, while messages go on.
//!
//! Clients are members of channels on a server that is linked to another one, where messages are published all the time.
//! Then the first server is told to stop. It lets its clients go over a period, and each joins at the other server the
//! moment that it is let go: clients that wait first, as they are asked to, come more evenly still. Positions of the first
//! server mean nothing to the second, so it sends the whole history, and a client takes from it what it does not
//! know yet. Every message has a number, so what is lost is found out.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use super::topology::{STALL, Shape, TURN, Topology};
use super::{ScenarioError, Target};
use crate::adapter::WireError;
use crate::broker::Broker;
use crate::distribution::{Distribution, nanoseconds};
use crate::fleet::{Fleet, FleetError, LinkId};
use crate::interrupt::Interrupt;
use crate::verify::{Stamp, Tally};

/// Connections served before messages are sent again.
const TURN_CONNECTIONS: usize = 64;
/// Time over which joins are counted at most.
const WINDOW: Duration = Duration::from_secs(1);
/// Time between two attempts to join of a client that is refused.
const RETRY: Duration = Duration::from_millis(250);
/// Reasons for failures that are kept.
const REASONS: usize = 3;
/// How much longer than the period may be until all clients have moved.
const PATIENCE: Duration = Duration::from_secs(30);
/// Nanoseconds in a millisecond.
const MILLISECOND: f64 = 1e6;

/// Clients that move from one server to another.
#[derive(Clone, Debug)]
pub(crate) struct Drain {
    /// Clients on all channels together, rounded up to the same number on each.
    pub(crate) clients: usize,
    pub(crate) channels: usize,
    /// Bytes of each message.
    pub(crate) payload: usize,
    /// Messages a second on all channels together.
    pub(crate) rate: f64,
    /// Time over which the first server lets its clients go.
    pub(crate) period: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct DrainOutcome {
    clients: usize,
    /// Clients that have joined the second server and have all that they missed.
    moved: usize,
    /// The first few reasons for failures.
    reasons: Vec<String>,
    /// Connections that ended inside a message.
    cut: usize,
    /// Joins that the second server refused at first.
    refused: usize,
    /// Time from the signal until the last client was let go.
    let_go_within: Duration,
    period: Duration,
    /// Most joins within [`WINDOW`].
    busiest: usize,
    /// How late this program was at most to see that clients were let go: what is due in that time comes at once.
    lag: Duration,
    /// Times from `connect` until a client had all that it had missed.
    join: Distribution,
    tally: Tally,
}

impl Drain {
    /// Returns how many messages of each channel the servers must keep for those who move.
    pub(crate) fn kept(&self) -> usize {
        // A client joins at once, but one whose connection id a link has may wait for the end of the first server.
        let seconds = self.period.as_secs_f64() + 10.0;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // positive and small
        let missed = (self.rate / self.channels as f64 * seconds) as usize;
        missed + 50
    }

    /// Loads `first`, lets `stop` tell it to stop, and goes on at `second`.
    ///
    /// # Errors
    /// A server cannot be reached, or a publisher loses its connection. A client that does not move is no error but in
    /// the outcome.
    pub(crate) fn run(
        &self,
        broker: Broker,
        [first, second]: [&Target; 2],
        stop: impl FnOnce(),
        interrupt: &Interrupt,
    ) -> Result<DrainOutcome, ScenarioError> {
        let adapter = broker.adapter(self.payload, &first.keyring);
        let mut fleet = Fleet::new(first.addr, adapter.as_ref(), self.payload, interrupt)?;
        fleet.limit_turns(TURN_CONNECTIONS);
        let shape = Shape {
            channels: self.channels,
            subscribers: self.clients.div_ceil(self.channels),
            publishers_at: Some(second.addr),
            ..Shape::single(self.payload)
        };
        let mut crowd = Crowd::over(Topology::assemble(fleet, shape)?, self.rate);
        crowd.go_on_for(WINDOW)?;
        stop();
        let start = Instant::now();
        crowd.move_over(start + self.period + PATIENCE)?;
        crowd.settle()?;
        let clients = crowd.topology.subscribers.len();
        let last = crowd.last_let_go.unwrap_or(start);
        Ok(DrainOutcome {
            clients,
            moved: crowd.moved,
            reasons: crowd.reasons,
            cut: crowd.cut,
            refused: crowd.refused,
            let_go_within: last - start,
            period: self.period,
            busiest: busiest(&crowd.joins, WINDOW),
            lag: crowd.lag,
            join: crowd.join,
            tally: crowd.topology.tally(),
        })
    }
}

impl DrainOutcome {
    /// Returns how many joins there may be within [`WINDOW`]: as many as an even spread has in a window that is longer by
    /// the lag at both of its ends, and some for groups that are let go together.
    fn allowed(&self) -> f64 {
        let window = WINDOW + 2 * self.lag;
        let even = self.clients as f64 * window.as_secs_f64() / self.period.as_secs_f64();
        even + even.sqrt().max(1.0)
    }

    /// Returns what went wrong; nothing if all is as it should be.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        let Tally {
            lost,
            reordered,
            foreign,
            ..
        } = self.tally;
        if self.moved < self.clients {
            let stayed = self.clients - self.moved;
            troubles.push(format!("{stayed} clients have not moved"));
        }
        troubles.extend(self.reasons.iter().cloned());
        if self.cut > 0 {
            troubles.push(format!("{} connections ended inside a message", self.cut));
        }
        if lost + reordered + foreign > 0 {
            troubles.push(format!(
                "{lost} messages lost, {reordered} reordered, {foreign} foreign"
            ));
        }
        if self.busiest as f64 > self.allowed() {
            let (busiest, allowed) = (self.busiest, self.allowed());
            troubles.push(format!(
                "{busiest} joins in a second, more than {allowed:.0}"
            ));
        }
        troubles
    }
}

impl fmt::Display for DrainOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clients, moved, .. } = self;
        let (within, period) = (self.let_go_within.as_secs_f64(), self.period.as_secs_f64());
        let even = *clients as f64 / period;
        let millis = |percent| self.join.percentile(percent) as f64 / MILLISECOND;
        let lag = self.lag.as_secs_f64() * 1e3;
        writeln!(f, "clients   {moved} of {clients} moved")?;
        writeln!(f, "let go    within {within:.2} s, of {period} s")?;
        writeln!(
            f,
            "joins     {} in the busiest second, {even:.0} if spread evenly, {} refused at first; loadgen was {lag:.0} ms \
             late at most",
            self.busiest, self.refused
        )?;
        writeln!(
            f,
            "join      p50 {:.1} ms, p99 {:.1} ms, at most {:.1} ms, until all that was missed had come",
            millis(50.0),
            millis(99.0),
            millis(100.0)
        )?;
        let Tally {
            expected,
            delivered,
            lost,
            duplicated,
            reordered,
            ..
        } = self.tally;
        writeln!(
            f,
            "messages  {delivered} of {expected} delivered, {lost} lost, {reordered} reordered; {duplicated} came again, \
             in histories"
        )?;
        for trouble in self.troubles() {
            writeln!(f, "FAULT     {trouble}")?;
        }
        Ok(())
    }
}

/// Clients of which some have moved, and those who publish to them.
struct Crowd<'a> {
    topology: Topology<'a, Stamp>,
    /// Between two messages, whichever their channel.
    interval: Duration,
    next_message: Instant,
    /// The publisher whose turn it is.
    publisher: usize,
    /// `true` for each client that has been let go.
    has_left: Vec<bool>,
    last_let_go: Option<Instant>,
    /// When clients began to join the second server.
    joins: Vec<Instant>,
    /// Clients that have been let go and have not got all yet, with the moment at which that was.
    waiting: BTreeMap<usize, Instant>,
    /// Clients that were refused, with the moment at which they try again, in order.
    refused_until: VecDeque<(Instant, usize)>,
    refused: usize,
    moved: usize,
    cut: usize,
    lag: Duration,
    join: Distribution,
    reasons: Vec<String>,
}

impl<'a> Crowd<'a> {
    fn over(mut topology: Topology<'a, Stamp>, rate: f64) -> Self {
        topology.fleet.survive_failures();
        Self {
            has_left: vec![false; topology.subscribers.len()],
            topology,
            interval: Duration::from_secs_f64(1.0 / rate),
            next_message: Instant::now(),
            publisher: 0,
            last_let_go: None,
            joins: Vec::new(),
            waiting: BTreeMap::new(),
            refused_until: VecDeque::new(),
            refused: 0,
            moved: 0,
            cut: 0,
            lag: Duration::ZERO,
            join: Distribution::new(),
            reasons: Vec::new(),
        }
    }

    fn go_on_for(&mut self, time: Duration) -> Result<(), ScenarioError> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.step(left.min(TURN))?;
        }
        Ok(())
    }

    /// Goes on until all clients have moved or failed.
    fn move_over(&mut self, deadline: Instant) -> Result<(), ScenarioError> {
        let all = self.has_left.len();
        while self.moved < all && Instant::now() < deadline {
            self.step(TURN)?;
        }
        Ok(())
    }

    /// Publishes what is due, receives for `wait` at most, and lets clients join the second server that were let go.
    fn step(&mut self, wait: Duration) -> Result<(), ScenarioError> {
        let asked = Instant::now();
        while self.next_message <= asked {
            self.publish(self.publisher)?;
            self.publisher = (self.publisher + 1) % self.topology.publishers.len();
            self.next_message += self.interval;
        }
        let wait = wait.min(self.next_message.saturating_duration_since(asked));
        self.topology.fleet.wake_after(wait)?;
        self.topology.serve(wait, |_, _| {})?;
        self.lag = self.lag.max(asked.elapsed().saturating_sub(wait));
        for (LinkId(place), error) in self.topology.fleet.take_failures() {
            self.take_failure(place, error)?;
        }
        let now = Instant::now();
        while let Some(&(_, place)) = self.refused_until.front().filter(|it| it.0 <= now) {
            self.refused_until.pop_front();
            self.join_second(place)?;
        }
        let fleet = &self.topology.fleet;
        let is_back = |client: &usize| fleet.positions(LinkId(*client)).is_caught_up();
        let back: Vec<usize> = self.waiting.keys().copied().filter(is_back).collect();
        for since in back.iter().filter_map(|client| self.waiting.remove(client)) {
            self.join.record(nanoseconds(since.elapsed()));
            self.moved += 1;
        }
        Ok(())
    }

    /// Lets a client join the second server that the first one has let go, or the second one has refused.
    fn take_failure(&mut self, place: usize, error: FleetError) -> Result<(), ScenarioError> {
        let Some(has_left) = self.has_left.get_mut(place) else {
            // A publisher.
            return Err(error.into());
        };
        if std::mem::replace(has_left, true) {
            if self
                .topology
                .fleet
                .positions(LinkId(place))
                .welcome()
                .is_some()
            {
                return Err(error.into());
            }
            self.refused += 1;
            self.refused_until
                .push_back((Instant::now() + RETRY, place));
            return Ok(());
        }
        if !says_farewell(&error) {
            self.reason(format!("at the first server: {error}"));
        }
        self.cut += usize::from(self.topology.fleet.is_cut(LinkId(place)));
        let now = Instant::now();
        self.last_let_go = Some(now);
        self.waiting.insert(place, now);
        self.join_second(place)
    }

    fn join_second(&mut self, place: usize) -> Result<(), ScenarioError> {
        self.joins.push(Instant::now());
        self.topology.reconnect(place)
    }

    fn publish(&mut self, which: usize) -> Result<(), ScenarioError> {
        let publisher = &mut self.topology.publishers[which];
        let link = publisher.link;
        publisher.publish(self.topology.fleet.outbox(link), |stamp| stamp);
        self.topology.fleet.flush(link)?;
        Ok(())
    }

    /// Publishes a last message on each channel, and receives until all have it.
    fn settle(&mut self) -> Result<(), ScenarioError> {
        for which in 0..self.topology.publishers.len() {
            self.publish(which)?;
        }
        // None of those on a schedule comes behind it.
        self.interval = STALL * 10;
        self.next_message = Instant::now() + self.interval;
        let deadline = Instant::now() + STALL;
        while !self.topology.is_idle() && Instant::now() < deadline {
            self.step(TURN)?;
        }
        self.topology.linger()
    }

    fn reason(&mut self, why: String) {
        if self.reasons.len() < REASONS && !self.reasons.contains(&why) {
            self.reasons.push(why);
        }
    }
}

/// Returns `true` if a connection ended as that of a client does which is let go: closed, or with the reason before that.
fn says_farewell(error: &FleetError) -> bool {
    match error {
        FleetError::Closed(_) => true,
        FleetError::Wire(WireError::Refused(reason)) => reason.contains("the server is stopping"),
        _ => false,
    }
}

/// Returns the most of these moments, which are in order, within any window.
fn busiest(moments: &[Instant], window: Duration) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (last, moment) in moments.iter().enumerate() {
        while moment.duration_since(moments[first]) >= window {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(change: impl FnOnce(&mut DrainOutcome)) -> DrainOutcome {
        let mut outcome = DrainOutcome {
            clients: 1000,
            moved: 1000,
            reasons: Vec::new(),
            cut: 0,
            refused: 0,
            let_go_within: Duration::from_secs(10),
            period: Duration::from_secs(10),
            busiest: 100,
            lag: Duration::from_millis(10),
            join: Distribution::new(),
            tally: Tally {
                duplicated: 7,
                ..Tally::default()
            },
        };
        change(&mut outcome);
        outcome
    }

    #[test]
    fn whatever_goes_wrong_is_told() {
        assert_eq!(outcome(|_| {}).troubles(), Vec::<String>::new());
        type Change = fn(&mut DrainOutcome);
        let changes: [(Change, &str); 5] = [
            (|it| it.moved = 999, "1 clients have not moved"),
            (|it| it.cut = 2, "2 connections ended inside a message"),
            (|it| it.tally.lost = 3, "3 messages lost, 0 reordered"),
            (
                |it| it.busiest = 200,
                "200 joins in a second, more than 112",
            ),
            (|it| it.reasons = vec!["no".to_owned()], "no"),
        ];
        for (change, expected) in changes {
            let outcome = outcome(change);
            let troubles = outcome.troubles();
            let told = matches!(&troubles[..], [one] if one.starts_with(expected));
            assert!(told, "{troubles:?}");
            assert!(
                outcome
                    .to_string()
                    .contains(&format!("FAULT     {expected}"))
            );
        }
    }

    #[test]
    fn the_busiest_window_is_found_wherever_it_is() {
        let start = Instant::now();
        let at = |millis: &[u64]| {
            let moments = millis.iter().map(|it| start + Duration::from_millis(*it));
            busiest(&moments.collect::<Vec<_>>(), Duration::from_secs(1))
        };
        assert_eq!(at(&[]), 0);
        assert_eq!(at(&[5]), 1);
        assert_eq!(at(&[0, 1000, 2000]), 1);
        assert_eq!(at(&[0, 900, 1000, 1800, 1899, 1900, 4000]), 4);
    }
}
