//! A member that asks for positions.

use std::collections::BTreeMap;

use mles::protocol::{Epoch, Position};

use super::disk::{Located, locate};
use super::order::Order;
use super::watcher::Watcher;
use super::{Facts, Oracle};
use crate::counter::Counter;
use crate::log::Event;
use crate::notice::{Gap, Receipt, Welcome};
use crate::payload::{Body, Tag};
use crate::scenario::Storage;

#[derive(Default)]
pub(super) struct Member {
    counter: Counter,
    /// What its last join has said.
    since: Option<Position>,
    floor: Option<Position>,
    /// Messages that come before live ones.
    replay: u64,
    is_behind_gap: bool,
    watcher: Watcher,
    /// Offset from which on its messages count, since it was counted anew last.
    counts_from: u64,
    /// What it was told that it has published, at which position, and from which offset on that counts.
    published: Vec<(Position, u64, u64)>,
}

impl Oracle<'_> {
    pub(super) fn see_member(&mut self, actor: usize, event: &Event) -> Result<(), String> {
        let facts = self.facts;
        let member = self.members.entry(actor).or_default();
        let was_behind_gap = std::mem::take(&mut member.is_behind_gap);
        match event {
            Event::Join { since, floor } => {
                if *since != member.counter.position() {
                    return Err("it does not count by the rule".to_owned());
                }
                (member.since, member.floor) = (*since, *floor);
            }
            Event::Welcome(welcome) => {
                if facts.jumps() {
                    member.welcome_in_fleet(welcome, facts.history)?;
                } else {
                    let epoch = welcome.position.epoch;
                    let located = member.since.map(|since| locate(&self.ends, since, epoch));
                    member.welcome(welcome, located, facts.history)?;
                }
                match member.since {
                    Some(_) if welcome.recovered => self.tally.resumed += 1,
                    Some(_) if welcome.missed.is_some() => self.tally.resumed_partly += 1,
                    Some(_) => self.tally.in_new_epochs += 1,
                    None => {}
                }
            }
            Event::Message { body, told } => {
                let position = member.message()?;
                if told.is_some_and(|told| told != position) {
                    return Err(format!("{told:?} where {position} is due"));
                }
                self.tally.messages += 1;
                self.place(position, *body)?;
            }
            Event::Receipt { receipt, tags } if facts.jumps() && receipt.count == 0 => {
                member.jump(receipt, tags)?;
            }
            Event::Receipt { receipt, tags } => {
                let before = member.receipt(receipt, tags, facts.jumps())?;
                self.tally.receipts += tags.len();
                // Behind a gap only the place of the last is known.
                let first = if was_behind_gap { tags.len() - 1 } else { 0 };
                let offsets = before.offset + 1 + first as u64..;
                let order = self.order(before.epoch);
                tags.iter().for_each(|tag| order.confirm(*tag));
                for (offset, tag) in offsets.zip(&tags[first..]) {
                    order.place(offset, Body::Tagged(*tag))?;
                }
            }
            Event::Gap(gap) => {
                let before = member.gap(gap)?;
                self.tally.gaps += 1;
                self.see_gap(actor, before, gap)?;
            }
            Event::Placed(tags) => {
                let position = member.counter.position().ok_or("placed before a welcome")?;
                self.tally.found_placed += tags.len();
                let order = self.order(position.epoch);
                tags.iter().for_each(|tag| order.confirm(*tag));
            }
            Event::Members(members) => member.watcher.members(members)?,
            Event::Changes(changes) => member.watcher.changes(changes)?,
            _ => {}
        }
        Ok(())
    }

    /// Where nothing is dropped, a gap is there for what a transport cannot carry, and for nothing else.
    fn see_gap(&mut self, actor: usize, before: Position, gap: &Gap) -> Result<(), String> {
        if self.facts.drops {
            return Ok(());
        }
        if !self.facts.actors[actor].skips_junk {
            return Err("a gap, where nobody drops anything".to_owned());
        }
        let order = self.order(before.epoch);
        order.leave_out(before.offset + 1..before.offset + gap.missed + 1)
    }
}

impl Member {
    fn welcome(
        &mut self,
        welcome: &Welcome,
        located: Option<Located>,
        history: usize,
    ) -> Result<(), String> {
        let Position { epoch, offset } = welcome.position;
        let start = offset.checked_sub(welcome.replay);
        let start = start.ok_or("more is replayed than there is")?;
        let expected = match located {
            None => (true, Some(0)),
            // Of an order without messages it is not known whether the disk has ever had it.
            Some(Located::At(0)) if !welcome.recovered && self.is_of_other(epoch) => (false, None),
            Some(Located::Behind(end)) if end > offset => {
                return Err(format!("the order ends before {end}, which it has kept"));
            }
            Some(Located::Behind(_) | Located::Unknown) => (false, None),
            Some(Located::At(since)) if since > offset => {
                return Err(format!("the order ends before {since}, which was told"));
            }
            Some(Located::At(since)) => match start.checked_sub(since) {
                Some(missed) => (missed == 0, Some(missed)),
                None => return Err(format!("it begins again at {start}, before {since}")),
            },
        };
        if (welcome.recovered, welcome.missed) != expected {
            return Err(format!("recovered and missed have to be {expected:?}"));
        }
        let behind = match located {
            Some(Located::At(since) | Located::Behind(since)) => offset - since,
            Some(Located::Unknown) | None => offset,
        };
        let kept = behind.min(history as u64);
        if welcome.replay != kept {
            return Err(format!(
                "{} messages are replayed where {kept} are kept",
                welcome.replay
            ));
        }
        if self
            .floor
            .is_some_and(|floor| floor.epoch == epoch && floor.offset > offset)
        {
            return Err(format!("it ends before {:?}, which was known", self.floor));
        }
        self.begin(welcome);
        Ok(())
    }

    /// Where offsets jump nobody can tell by them how many messages there are.
    fn welcome_in_fleet(&mut self, welcome: &Welcome, history: usize) -> Result<(), String> {
        let Position { epoch, offset } = welcome.position;
        let start = welcome.start.filter(|start| start.epoch == epoch);
        let start = start.ok_or("it does not say where the replay begins")?;
        let is_known = self.since.is_none_or(|since| since.epoch == epoch);
        let expected = match (is_known, welcome.missed) {
            (true, Some(0)) => true,
            (true, None) if self.since.is_some() && history < super::EVERYTHING => false,
            (false, None) => false,
            _ => return Err(format!("missed: {:?}", welcome.missed)),
        };
        if welcome.recovered != expected {
            return Err(format!("recovered has to be {expected}"));
        }
        let least = self.since.filter(|since| since.epoch == epoch);
        let least = least.map_or(0, |since| since.offset);
        if start.offset < least || offset < start.offset {
            return Err(format!(
                "it goes on at {start}, to {offset}, behind {least}"
            ));
        }
        self.begin(welcome);
        Ok(())
    }

    fn begin(&mut self, welcome: &Welcome) {
        self.replay = welcome.replay;
        self.counter.welcome(welcome);
        self.watcher.lose();
        match welcome.published {
            Some(published) => {
                let told = (welcome.position, published, self.counts_from);
                self.published.push(told);
            }
            None => self.counts_from = welcome.position.offset,
        }
    }

    /// The next message does not follow the one before it.
    fn jump(&mut self, receipt: &Receipt, tags: &[Tag]) -> Result<(), String> {
        let before = self.counter.position().ok_or("a jump before any welcome")?;
        let goes_on = receipt.position.epoch == before.epoch
            && receipt.position.offset > before.offset
            && tags.is_empty();
        if !goes_on {
            return Err(format!("a jump from {before} to {}", receipt.position));
        }
        self.counter.receipt(receipt);
        Ok(())
    }

    /// Returns `true` if it comes from the order of another epoch.
    fn is_of_other(&self, epoch: Epoch) -> bool {
        self.since.is_some_and(|since| since.epoch != epoch)
    }

    fn message(&mut self) -> Result<Position, String> {
        self.replay = self.replay.saturating_sub(1);
        let position = self.counter.message();
        position.ok_or_else(|| "a message before any welcome".to_owned())
    }

    /// Returns the position before the messages, if nothing lies between them.
    fn receipt(
        &mut self,
        receipt: &Receipt,
        tags: &[Tag],
        may_jump: bool,
    ) -> Result<Position, String> {
        let count = receipt.count;
        if tags.is_empty() || tags.len() as u64 != count {
            return Err(format!(
                "a receipt for {count} where {} were sent",
                tags.len()
            ));
        }
        if self.replay > 0 {
            return Err(format!("a receipt before {} old messages", self.replay));
        }
        let before = self
            .counter
            .position()
            .ok_or("a receipt before any welcome")?;
        let due = Position {
            offset: before.offset + count,
            ..before
        };
        let jumps = receipt.position.epoch == due.epoch && receipt.position.offset > due.offset;
        if receipt.position != due && !(may_jump && jumps) {
            return Err(format!(
                "a receipt at {} where {due} is due",
                receipt.position
            ));
        }
        self.counter.receipt(receipt);
        Ok(Position {
            offset: receipt.position.offset - count,
            ..before
        })
    }

    /// Returns the position before the gap.
    fn gap(&mut self, gap: &Gap) -> Result<Position, String> {
        if gap.missed == 0 && !gap.members {
            return Err("a gap of nothing".to_owned());
        }
        let before = self.counter.position().ok_or("a gap before any welcome")?;
        self.replay = self.replay.saturating_sub(gap.missed);
        self.is_behind_gap = true;
        if gap.members {
            self.watcher.lose();
        }
        self.counter.gap(gap);
        Ok(before)
    }

    /// A welcome counts as many messages of a publisher as there are at or before its position.
    pub(super) fn check_published(
        &self,
        actor: usize,
        orders: &BTreeMap<u64, Order>,
        last: Epoch,
        facts: &Facts,
    ) -> Result<(), String> {
        for (position, published, counts_from) in &self.published {
            let order = &orders[&position.epoch.0];
            let mut known = order.count_up_to(actor, position.offset);
            if matches!(facts.storage, Storage::DiskLater | Storage::Fleet) {
                // What it published before it was counted anew may be there.
                known -= order.count_up_to(actor, *counts_from);
            }
            let is_whole = position.epoch == last && facts.is_whole(order);
            let is_true = if facts.forgets {
                *published <= known || !is_whole
            } else {
                *published == known || *published > known && !is_whole
            };
            if !is_true {
                return Err(format!(
                    "published: {published} at {position}, and {known} are there"
                ));
            }
        }
        Ok(())
    }
}
