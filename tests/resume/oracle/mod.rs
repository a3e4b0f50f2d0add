//! Judges what the actors of a run have seen. It knows the promises, and nothing of how they are kept:
//!
//! * A history on disk goes on in its epoch after each start, and nothing of it is gone. One in memory has a new epoch.
//! * One that comes to the disk later goes on in a new epoch after a kill: everything that was on disk is there, positions
//!   up to there count, and those behind it are told that something is gone. After a stop in order it goes on as it was.
//! * In one epoch a place has one message, for all who see it, and a message has one place.
//! * A client that counts by the rule knows the place of each message that it gets.
//! * What was confirmed is there, in the order in which its publisher sent it.
//! * A welcome says exactly what is missing, and what is missing is not kept any more.
//! * A gap is told where something was left out, and nowhere else.
//! * Who has the names of all members has those of all after each change.

mod disk;
mod member;
mod order;
mod plain;
mod watcher;

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use mles::protocol::{Epoch, Position};

use crate::log::{Entry, Event, Page, Stop};
use crate::payload::{Body, Tag};
use crate::scenario::Storage;
use disk::{DiskLog, Located};
use member::Member;
use order::Order;
use plain::PlainMember;

/// What is known of a run besides the log.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Most messages that the server keeps.
    pub history: usize,
    pub storage: Storage,
    /// Set if members that are slow lose messages.
    pub drops: bool,
    /// Set if publishers are forgotten before they are done.
    pub forgets: bool,
    pub actors: Vec<ActorFacts>,
    /// The actor that reads everything at the end.
    pub last_reader: usize,
}

/// The history of the scenarios in which nothing is let go.
const EVERYTHING: usize = 100_000;

impl Facts {
    /// Returns `true` if the offset of a message need not be one more than that of the message before.
    fn jumps(&self) -> bool {
        self.storage == Storage::Fleet
    }

    /// Returns `true` if everything that has a place in an order is known.
    fn is_whole(&self, order: &Order) -> bool {
        match self.storage {
            Storage::Fleet => self.history >= EVERYTHING && order.newest.is_some(),
            Storage::Memory | Storage::Disk | Storage::DiskLater => order.is_whole(self.history),
        }
    }
}

#[derive(Clone, Debug)]
pub struct ActorFacts {
    pub name: String,
    /// Set if its transport cannot carry a body that is no message.
    pub skips_junk: bool,
    /// Set if its messages have their places in the order in which it sends them: it goes on when it has a receipt.
    pub keeps_order: bool,
}

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Index of the entry that shows it; `None` if only all of them do.
    pub at: Option<usize>,
    pub what: String,
}

/// What a run was made of: whether it can have shown anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub stops: usize,
    /// Those of them that let nobody finish anything.
    pub sudden: usize,
    pub epochs: usize,
    pub messages: usize,
    pub receipts: usize,
    pub resumed: usize,
    pub resumed_partly: usize,
    pub in_new_epochs: usize,
    pub gaps: usize,
    pub found_placed: usize,
    pub doubtful: usize,
    /// Messages of orders that are over that were known to be on disk.
    pub on_disk: usize,
    /// Messages that somebody has seen, and that a kill took.
    pub lost: usize,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.stops += other.stops;
        self.sudden += other.sudden;
        self.epochs += other.epochs;
        self.messages += other.messages;
        self.receipts += other.receipts;
        self.resumed += other.resumed;
        self.resumed_partly += other.resumed_partly;
        self.in_new_epochs += other.in_new_epochs;
        self.gaps += other.gaps;
        self.found_placed += other.found_placed;
        self.doubtful += other.doubtful;
        self.on_disk += other.on_disk;
        self.lost += other.lost;
    }
}

impl Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} stops, {} of them sudden, {} epochs, {} messages seen, {} with receipts; resumed: {} whole, {} partly, {} in a \
             new epoch; {} gaps told, {} messages found placed at a welcome, {} doubtful; {} known to be on disk, {} lost",
            self.stops,
            self.sudden,
            self.epochs,
            self.messages,
            self.receipts,
            self.resumed,
            self.resumed_partly,
            self.in_new_epochs,
            self.gaps,
            self.found_placed,
            self.doubtful,
            self.on_disk,
            self.lost,
        )
    }
}

/// Judges a whole run.
pub fn judge(facts: &Facts, log: &[Entry]) -> Result<Tally, Fault> {
    let mut oracle = Oracle {
        facts,
        orders: BTreeMap::new(),
        members: BTreeMap::new(),
        plain: BTreeMap::new(),
        epoch: None,
        is_running: false,
        stops: Vec::new(),
        ends: ends_in(log),
        disk: DiskLog::default(),
        tally: Tally::default(),
    };
    for (at, entry) in log.iter().enumerate() {
        let seen = oracle.see(entry);
        seen.map_err(|what| Fault { at: Some(at), what })?;
    }
    let judged = oracle.end();
    judged.map_err(|what| Fault { at: None, what })?;
    oracle.tally.epochs = oracle.orders.len();
    Ok(oracle.tally)
}

/// Returns the offsets up to which orders went on that are over, which is told last.
fn ends_in(log: &[Entry]) -> BTreeMap<u64, u64> {
    let told = log.iter().find_map(|entry| match &entry.event {
        Event::Ends(ends) => Some(ends.as_slice()),
        _ => None,
    });
    let ends = told.unwrap_or_default().iter();
    ends.map(|(epoch, end)| (epoch.0, *end)).collect()
}

struct Oracle<'a> {
    facts: &'a Facts,
    /// By epoch.
    orders: BTreeMap<u64, Order>,
    /// Those that ask for positions, by actor.
    members: BTreeMap<usize, Member>,
    plain: BTreeMap<usize, PlainMember>,
    /// That of the server that was started last.
    epoch: Option<Epoch>,
    is_running: bool,
    /// How servers were stopped since then.
    stops: Vec<Stop>,
    /// By epoch, the offset up to which the order has gone on in that of the next.
    ends: BTreeMap<u64, u64>,
    disk: DiskLog,
    tally: Tally,
}

impl Oracle<'_> {
    fn order(&mut self, epoch: Epoch) -> &mut Order {
        self.orders.entry(epoch.0).or_default()
    }

    fn place(&mut self, position: Position, body: Body) -> Result<(), String> {
        self.order(position.epoch).place(position.offset, body)
    }

    fn see(&mut self, entry: &Entry) -> Result<(), String> {
        let actor = entry.actor;
        match &entry.event {
            Event::Page(page) => return self.see_page(actor, page),
            Event::Posted { tags, first, last } => {
                if first.offset + tags.len() as u64 != last.offset + 1 {
                    return Err(format!("{} messages from {first} to {last}", tags.len()));
                }
                self.tally.receipts += tags.len();
                for (offset, tag) in (first.offset..).zip(tags) {
                    let order = self.order(first.epoch);
                    order.place(offset, Body::Tagged(*tag))?;
                    order.confirm(*tag);
                }
                return Ok(());
            }
            Event::Server(epoch) => self.see_start(*epoch)?,
            Event::Stop(how) => {
                self.tally.stops += 1;
                self.tally.sudden += usize::from(*how == Stop::Sudden);
                self.is_running = false;
                self.stops.push(*how);
                self.disk = DiskLog::default();
            }
            Event::Written(batches) => self.see_written(*batches),
            Event::Ends(_) => {}
            Event::PlainJoin => {
                let epoch = self.epoch.ok_or("no server has started")?;
                self.plain.entry(actor).or_default().join(epoch);
            }
            Event::PlainMessage(body) => self.plain.entry(actor).or_default().message(*body)?,
            Event::End(_) => {}
            Event::Fault(what) => return Err(what.clone()),
            Event::Doubtful(tags) => {
                self.tally.doubtful += tags.len();
                if !self.facts.forgets && !tags.is_empty() {
                    return Err("its publisher was forgotten, and should not be".to_owned());
                }
            }
            asking => return self.see_member(actor, asking),
        }
        Ok(())
    }

    fn see_start(&mut self, epoch: Epoch) -> Result<(), String> {
        let before = self.epoch.replace(epoch);
        let goes_on = before.is_some_and(|before| before == epoch);
        self.is_running = true;
        let stops = std::mem::take(&mut self.stops);
        match self.facts.storage {
            Storage::Memory if goes_on => Err(format!("{epoch} goes on, from nothing")),
            // Nobody had waited until one that is still empty was on disk.
            Storage::Fleet if !goes_on && before.is_some() => {
                Err(format!("{before:?} is over, and {epoch} has begun"))
            }
            Storage::Disk if !goes_on && before.is_some_and(|before| self.has_messages(before)) => {
                Err(format!("{before:?} is over, and {epoch} has begun"))
            }
            Storage::DiskLater if goes_on && stops.first() == Some(&Stop::Sudden) => {
                Err(format!("{epoch} goes on, though its server was killed"))
            }
            Storage::DiskLater
                if !goes_on
                    && stops == [Stop::Orderly]
                    && before.is_some_and(|before| self.has_messages(before)) =>
            {
                Err(format!(
                    "{before:?} is over, and {epoch} has begun, in order"
                ))
            }
            Storage::Memory | Storage::Disk | Storage::DiskLater | Storage::Fleet => Ok(()),
        }
    }

    fn has_messages(&self, epoch: Epoch) -> bool {
        let order = self.orders.get(&epoch.0);
        order.is_some_and(|order| !order.is_empty())
    }

    fn see_page(&mut self, actor: usize, page: &Page) -> Result<(), String> {
        let Position { epoch, offset: end } = page.next;
        let located = page.since.map(|since| self.locate(since, epoch));
        let known = match located {
            Some(Located::At(offset)) => Some(offset),
            _ => None,
        };
        let floor = page.floor.filter(|floor| floor.epoch == epoch);
        let start = match (page.since, known) {
            (Some(_), Some(since)) if self.facts.jumps() && page.missed.is_none() => {
                if self.facts.history >= EVERYTHING {
                    return Err(format!("what follows {since} is not all there"));
                }
                let first = page.messages.first();
                first.map_or(end, |(first, _)| first.offset - 1)
            }
            (Some(_), Some(since)) => since + page.missed.ok_or("missed is not known")?,
            (Some(_), None) if page.missed.is_some() => {
                return Err("missed is known across epochs".to_owned());
            }
            // All that is kept.
            _ => page
                .messages
                .first()
                .map_or(end, |(first, _)| first.offset - 1),
        };
        let is_recovered = page.since.is_none() || known.is_some() && page.missed == Some(0);
        if page.is_recovered != is_recovered {
            return Err(format!(
                "recovered: {}, missed: {:?}",
                page.is_recovered, page.missed
            ));
        }
        if let Some(Located::Behind(lost)) = located
            && start < lost
        {
            return Err(format!("it begins again at {start}, before {lost}"));
        }
        let messages = if self.facts.jumps() {
            page.messages.len() as u64
        } else {
            end.saturating_sub(start)
        };
        if start > end || messages > page.limit as u64 && !page.messages.is_empty() {
            return Err(format!(
                "{messages} messages from {start} to {end} where at most {} were asked for",
                page.limit
            ));
        }
        // What one node knows may still be on its way to another.
        let is_alone = !self.facts.jumps();
        if is_alone && end == start && floor.is_some_and(|floor| floor.offset > end) {
            return Err(format!("it ends before {floor:?}, which was known"));
        }
        let mut next = start + 1;
        for (position, body) in &page.messages {
            if position.epoch != epoch || !(next..=end).contains(&position.offset) {
                return Err(format!(
                    "{position} is not between {start} and {end}, in order"
                ));
            }
            let order = self.order(epoch);
            order.leave_out(next..position.offset)?;
            order.place(position.offset, *body)?;
            next = position.offset + 1;
            if actor == self.facts.last_reader {
                self.order(epoch).read.insert(position.offset);
            }
        }
        let is_last = actor == self.facts.last_reader;
        let order = self.order(epoch);
        order.leave_out(next..end + 1)?;
        if is_last {
            order.newest = Some(end);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let last = self.orders.iter().find(|(_, order)| order.newest.is_some());
        let (&last, _) = last.ok_or("nothing was read at the end")?;
        if self.facts.storage == Storage::DiskLater {
            self.join_orders(Epoch(last))?;
        }
        self.orders[&last].check_end(self.facts)?;
        let with_messages = self.orders.values().filter(|order| !order.is_empty());
        let with_messages = with_messages.count();
        let keeps_epoch = matches!(self.facts.storage, Storage::Disk | Storage::Fleet);
        if keeps_epoch && with_messages > 1 {
            return Err(format!("messages in {with_messages} epochs of one channel"));
        }
        let keeps_order = |tag: &Tag| self.facts.actors[tag.actor].keeps_order;
        for order in self.orders.values() {
            order.check_publishers(keeps_order)?;
        }
        for (actor, member) in &self.members {
            let checked = member.check_published(*actor, &self.orders, Epoch(last), self.facts);
            checked.map_err(|what| format!("actor {actor}: {what}"))?;
        }
        for (actor, plain) in &self.plain {
            let checked = plain.check(&self.orders, Epoch(last), self.facts);
            checked.map_err(|what| format!("plain actor {actor}: {what}"))?;
        }
        Ok(())
    }
}
