//! Channels with their publishers and subscribers, connected and known to hear each other.
//!
//! Not every protocol acknowledges a subscription, so for all alike the first publisher of each
//! channel sends probes until every subscriber of it has heard one. From then on a subscriber that
//! misses a message has lost it.
//!
//! A client that both publishes and subscribes is in both lists, in the same place of its channel.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::ScenarioError;
use super::publisher::Publisher;
use crate::adapter::{Publication, Role, Session};
use crate::fleet::{Fleet, FleetError, LinkId};
use crate::payload::PayloadHeader;
use crate::verify::{Tally, Verifier};

/// How long subscribers may take to hear a probe.
pub(super) const HEAR_DEADLINE: Duration = Duration::from_secs(30);
/// So many probes are sent in the time that was waited so far, at most.
const PROBES_PER_WAIT: u32 = 10;
/// Time between two probes, at least.
pub(super) const PROBE_EVERY: Duration = Duration::from_millis(20);
/// Connections opened before the fleet is served in between.
const OPEN_AT_ONCE: usize = 32;
/// How long late duplicates are waited for.
pub(super) const LINGER: Duration = Duration::from_millis(50);
/// After so long without any delivery what has not come counts as lost.
pub(super) const STALL: Duration = Duration::from_secs(10);
/// How long a turn waits for something to happen.
pub(super) const TURN: Duration = Duration::from_millis(100);
/// Bytes handed to the kernel in one write, unless one message is longer.
pub(super) const WRITE_LEN: usize = 64 << 10;
/// Text that fills payloads behind their header, over and over.
const TEXT: &[u8] = b"Hello World!";

/// Numbers of channels, publishers and subscribers, and the size of messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) channels: usize,
    /// Number in each channel.
    pub(super) publishers: u16,
    /// Number in each channel.
    pub(super) subscribers: usize,
    /// `true` if subscriber and publisher n of a channel are one client, on one connection where the
    /// protocol can do that. Their numbers must be the same, and over 1.
    pub(super) members: bool,
    /// `true` if publishers have each message confirmed.
    pub(super) is_confirmed: bool,
    /// Bytes.
    pub(super) payload: usize,
    /// Another broker for publishers, and for whoever connects again; `None` if it is that of the subscribers.
    pub(super) publishers_at: Option<SocketAddr>,
}

impl Shape {
    /// Returns one channel with one publisher and one subscriber.
    pub(super) fn single(payload: usize) -> Self {
        Self {
            channels: 1,
            publishers: 1,
            subscribers: 1,
            members: false,
            is_confirmed: false,
            payload,
            publishers_at: None,
        }
    }

    fn publisher_role(&self) -> Role {
        if self.is_confirmed {
            Role::ConfirmedPublisher
        } else {
            Role::Publisher
        }
    }
}

/// A connection just made.
#[derive(Clone, Copy)]
struct Opened {
    link: LinkId,
    local: SocketAddr,
    role: Role,
    number: u32,
}

/// A connection that receives one channel, with its account.
pub(super) struct Subscriber {
    pub(super) channel: usize,
    /// Number of its session.
    number: u32,
    pub(super) verifier: Verifier,
}

/// All connections of a scenario. Subscribers are opened first, channel by channel, so a
/// subscriber's place is its [`LinkId`]. Every payload begins with an `M`.
pub(super) struct Topology<'a, M> {
    pub(super) fleet: Fleet<'a, M>,
    pub(super) subscribers: Vec<Subscriber>,
    pub(super) publishers: Vec<Publisher>,
    shape: Shape,
    channels: Vec<String>,
}

impl<'a, M: PayloadHeader> Topology<'a, M> {
    /// Connects everyone over `fleet` and waits until all subscribers hear their channel.
    ///
    /// # Errors
    /// A connection fails, [`ScenarioError::NotLetIn`] or [`ScenarioError::Deaf`].
    pub(super) fn assemble(fleet: Fleet<'a, M>, shape: Shape) -> Result<Self, ScenarioError> {
        let run = run_name();
        let channels = (0..shape.channels)
            .map(|channel| format!("lg-{run}-{channel}"))
            .collect();
        let mut topology = Self {
            fleet,
            subscribers: Vec::new(),
            publishers: Vec::new(),
            shape,
            channels,
        };
        match topology.gather() {
            Err(ScenarioError::Fleet(FleetError::Closed(role))) => {
                Err(ScenarioError::NotLetIn(role))
            }
            gathered => gathered.map(|()| topology),
        }
    }

    /// Opens all connections, and waits until subscribers hear their channel.
    fn gather(&mut self) -> Result<(), ScenarioError> {
        let shape = self.shape;
        let publishers = usize::from(shape.publishers);
        let one_connection = shape.members && self.fleet.is_duplex();
        let role = if one_connection {
            Role::Member
        } else {
            Role::Subscriber
        };
        let mut members = Vec::new();
        for channel in 0..shape.channels {
            for index in 0..shape.subscribers {
                let opened = self.open(role, channel)?;
                let verifier = match shape.members {
                    true => Verifier::of_member(publishers, index),
                    false => Verifier::new(publishers),
                };
                self.subscribers.push(Subscriber {
                    channel,
                    number: opened.number,
                    verifier,
                });
                if one_connection {
                    members.push(opened);
                }
            }
        }
        if let Some(broker) = shape.publishers_at {
            self.fleet.redirect(broker);
        }
        let mut members = members.into_iter();
        let payload: Vec<u8> = std::iter::repeat_n(0, M::LEN)
            .chain(TEXT.iter().copied().cycle())
            .take(shape.payload)
            .collect();
        for channel in 0..shape.channels {
            for index in 0..shape.publishers {
                let opened = match members.next() {
                    Some(member) => member,
                    None => self.open(shape.publisher_role(), channel)?,
                };
                let publication = self.publication(&opened, channel, &payload)?;
                let link = opened.link;
                self.publishers.push(Publisher {
                    link,
                    channel,
                    index,
                    sent: 0,
                    probes: 0,
                    publication,
                });
            }
        }
        self.probe()
    }

    /// Serves the connections once and sets `touched` for every channel that something came for.
    ///
    /// # Errors
    /// A connection fails.
    pub(super) fn turn(
        &mut self,
        timeout: Duration,
        touched: &mut [bool],
    ) -> Result<(), ScenarioError> {
        self.serve(timeout, |channel, _| touched[channel] = true)
    }

    /// Serves the connections once and hands each message that a subscriber got to `delivered`,
    /// with its channel, after it was taken into account.
    ///
    /// # Errors
    /// A connection fails.
    #[inline]
    pub(super) fn serve(
        &mut self,
        timeout: Duration,
        mut delivered: impl FnMut(usize, M),
    ) -> Result<(), ScenarioError> {
        let subscribers = &mut self.subscribers;
        self.fleet.turn(timeout, |LinkId(place), header| {
            // Publishers are members of their channel too in some protocols; what they get is
            // not counted.
            if let Some(subscriber) = subscribers.get_mut(place) {
                subscriber.verifier.check(header.stamp());
                delivered(subscriber.channel, header);
            }
        })?;
        Ok(())
    }

    /// Goes on receiving for a while after the last message that was due: a duplicate comes late. Then checks the
    /// positions that subscribers have counted, where they have.
    ///
    /// # Errors
    /// A connection fails, or [`ScenarioError::Positions`].
    pub(super) fn linger(&mut self) -> Result<(), ScenarioError> {
        let end = Instant::now() + LINGER;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.serve(left, |_, _| {})?;
        }
        self.check_positions()
    }

    /// Checks that subscribers who count positions have all come to the same in their channel, behind as many
    /// messages as were sent there. Who has missed a message is told by the tally, and is not asked.
    fn check_positions(&mut self) -> Result<(), ScenarioError> {
        if !self.fleet.counts_positions() {
            return Ok(());
        }
        let start = Instant::now();
        // The last receipt of a member may come later than the last message of the others.
        while let Some(misfit) = self.misfit() {
            if !self.tally().is_clean() {
                return Ok(());
            }
            if start.elapsed() > HEAR_DEADLINE {
                return Err(ScenarioError::Positions(misfit));
            }
            self.serve(TURN, |_, _| {})?;
        }
        Ok(())
    }

    /// Returns the first thing that is wrong with the positions that were counted, in words.
    fn misfit(&self) -> Option<String> {
        let mut place = 0;
        for (publishers, subscribers) in self.by_channel() {
            let links = place..place + subscribers.len();
            place = links.end;
            // Their last probes may be under way.
            if publishers.iter().any(|it| it.probes > 0 && it.sent == 0) {
                continue;
            }
            let sent: u64 = publishers.iter().map(|it| it.sent).sum();
            let probes: u64 = publishers.iter().map(|it| it.probes).sum();
            let mut first = None;
            for link in links.map(LinkId) {
                let Some(at) = self.fleet.positions(link).at() else {
                    return Some("a subscriber was told none".to_owned());
                };
                if !(sent..=sent + probes).contains(&at.offset) {
                    return Some(format!("{at} behind {sent} messages and {probes} probes"));
                }
                if *first.get_or_insert(at) != at {
                    return Some(format!("{at} of one subscriber, {first:?} of another"));
                }
            }
        }
        None
    }

    /// Connects a subscriber again that was closed; it goes on where it had come to, where the protocol can do that.
    ///
    /// # Errors
    /// The connection cannot be begun.
    pub(super) fn reconnect(&mut self, place: usize) -> Result<(), ScenarioError> {
        let Subscriber {
            channel, number, ..
        } = self.subscribers[place];
        let name = &self.channels[channel];
        Ok(self.fleet.reconnect(LinkId(place), number, name)?)
    }

    /// Returns `true` if every subscriber has the last message of each of its channel's publishers.
    pub(super) fn is_idle(&self) -> bool {
        self.by_channel().all(|(publishers, subscribers)| {
            publishers.iter().all(|publisher| {
                let has_last = |subscriber: &Subscriber| {
                    subscriber.verifier.progress(publisher.index.into()) >= publisher.sent
                };
                subscribers.iter().all(has_last)
            })
        })
    }

    /// Returns the deliveries that all subscribers have seen of the messages sent so far.
    pub(super) fn tally(&self) -> Tally {
        let mut all = Tally::default();
        for (publishers, subscribers) in self.by_channel() {
            for subscriber in subscribers {
                let sent = publishers.iter().map(|publisher| publisher.sent);
                all.add(&subscriber.verifier.tally(sent));
            }
        }
        all
    }

    pub(super) fn by_channel(&self) -> impl Iterator<Item = (&[Publisher], &[Subscriber])> {
        let publishers = self.publishers.chunks(self.shape.publishers.into());
        publishers.zip(self.subscribers.chunks(self.shape.subscribers))
    }

    /// Returns the name of a channel.
    pub(super) fn channel(&self, channel: usize) -> &str {
        &self.channels[channel]
    }

    /// Closes the publishers' connections.
    pub(super) fn dismiss_publishers(&mut self) {
        for publisher in self.publishers.drain(..) {
            self.fleet.close(publisher.link);
        }
    }

    fn open(&mut self, role: Role, channel: usize) -> Result<Opened, ScenarioError> {
        let number = session_number();
        let (link, local) = self.fleet.open(role, number, &self.channels[channel])?;
        if link.0.is_multiple_of(OPEN_AT_ONCE) {
            self.turn(Duration::ZERO, &mut vec![false; self.channels.len()])?;
        }
        Ok(Opened {
            link,
            local,
            role,
            number,
        })
    }

    fn publication(
        &self,
        opened: &Opened,
        channel: usize,
        payload: &[u8],
    ) -> Result<Publication, ScenarioError> {
        let &Opened {
            local,
            role,
            number,
            ..
        } = opened;
        let channel = &self.channels[channel];
        let session = Session {
            local,
            role,
            number,
            channel,
            since: None,
        };
        Ok(self.fleet.publication(&session, payload)?)
    }

    fn probe(&mut self) -> Result<(), ScenarioError> {
        let start = Instant::now();
        let mut touched = vec![false; self.channels.len()];
        loop {
            let mut deaf = vec![0; self.channels.len()];
            for subscriber in &self.subscribers {
                deaf[subscriber.channel] += usize::from(!subscriber.verifier.heard_probe());
            }
            let all_deaf = deaf.iter().sum();
            if all_deaf == 0 {
                return Ok(());
            }
            if start.elapsed() > HEAR_DEADLINE {
                return Err(ScenarioError::Deaf {
                    deaf: all_deaf,
                    all: self.subscribers.len(),
                    seconds: HEAR_DEADLINE.as_secs(),
                });
            }
            self.send_probes(&deaf)?;
            // Many members make a probe long, and a broker that is behind is not to be given more.
            let next = Instant::now() + PROBE_EVERY.max(start.elapsed() / PROBES_PER_WAIT);
            while Instant::now() < next {
                self.turn(next.saturating_duration_since(Instant::now()), &mut touched)?;
            }
        }
    }

    fn send_probes(&mut self, deaf: &[usize]) -> Result<(), ScenarioError> {
        // Members do not all hear themselves: two have to ask.
        let asking = 1 + u16::from(self.shape.members);
        let firsts = self
            .publishers
            .iter_mut()
            .filter(|publisher| publisher.index < asking);
        for publisher in firsts.filter(|publisher| deaf[publisher.channel] > 0) {
            if self.fleet.flush(publisher.link)? {
                publisher.probe(self.fleet.outbox(publisher.link), M::probe());
                self.fleet.flush(publisher.link)?;
            }
        }
        Ok(())
    }
}

/// Returns a number that no other session of this program's run has.
pub(super) fn session_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Returns a name that no other run used, so that nobody else is on its channels; eight hex digits, to
/// keep names of one length.
pub(super) fn run_name() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mixed = now.as_nanos() ^ (u128::from(std::process::id()) << 12);
    format!("{:08x}", mixed & 0xFFFF_FFFF)
}
