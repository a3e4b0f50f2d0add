//! What becomes of a record.

use std::collections::HashMap;

use super::{Applied, Certainty, LATE_MS, MEMORY_MS};
use crate::order::recent::Name;
use crate::order::{
    Author, Basis, Content, Decision, LogEntry, NamedPublication, Outcome, RecordBody, RecordHead,
    Section, Sequence,
};

/// What is remembered of a publication with a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named {
    content: u64,
    first: u64,
    last: u64,
    /// `true` if it may have had a place before.
    is_unsure: bool,
}

impl Applied {
    pub(super) fn decide(
        &mut self,
        head: RecordHead,
        body: RecordBody,
        entry: &LogEntry,
    ) -> Outcome {
        let was_there = self.count_batch(head, entry.at_ms);
        if matches!(self.certainty, Certainty::Learning { .. }) {
            return Outcome::Unsure;
        }
        let basis = head.basis;
        let is_current =
            basis.epoch == self.epoch && !is_late(basis, entry) && self.has_in_place(basis);
        // What is void is so for all nodes, also for those that do not know whether it was there before.
        if is_current && was_there {
            return Outcome::Repeat;
        }
        let sections = match body {
            RecordBody::Sections(sections) if is_current => self.take_in(head, sections, entry),
            RecordBody::Sections(sections) => {
                let late = sections.into_iter();
                late.map(|section| (section, Decision::Late)).collect()
            }
            RecordBody::Heartbeat(Some(digest)) if is_current && self.segments.differs(digest) => {
                self.differences += 1;
                Vec::new()
            }
            RecordBody::Epoch | RecordBody::Heartbeat(_) => Vec::new(),
        };
        if self.is_sure() {
            Outcome::Decided(sections)
        } else {
            Outcome::Unsure
        }
    }

    /// Returns `true` if the record that a node had applied is in its place in front of the last one, as far as that is known.
    fn has_in_place(&self, basis: Basis) -> bool {
        // A node that has applied none can only have made the first.
        if basis.at_ms == 0 {
            return true;
        }
        let back = self.last.0.checked_sub(basis.sequence.0);
        let Some(back) = back.filter(|back| *back > 0) else {
            return false;
        };
        let back = usize::try_from(back).unwrap_or(usize::MAX);
        let index = self
            .times
            .len()
            .checked_sub(1)
            .and_then(|last| last.checked_sub(back));
        index.is_none_or(|index| self.times[index] == basis.at_ms)
    }

    /// Counts a record of a node. Returns `true` if it was there before.
    fn count_batch(&mut self, head: RecordHead, at_ms: u64) -> bool {
        if !self.batches.contains_key(&head.incarnation) {
            // What comes of these would be late.
            let is_young = |seen: u64| seen.saturating_add(MEMORY_MS) >= at_ms;
            self.batches.retain(|_, &mut (_, seen)| is_young(seen));
        }
        let (last, seen) = self.batches.entry(head.incarnation).or_default();
        let was_there = head.batch <= *last;
        *last = head.batch.max(*last);
        *seen = at_ms;
        was_there
    }

    /// Decides about the sections of a record that is not void.
    fn take_in(
        &mut self,
        head: RecordHead,
        sections: Vec<Section>,
        entry: &LogEntry,
    ) -> Vec<(Section, Decision)> {
        let mut counted: HashMap<Box<str>, u64> = HashMap::new();
        let decided = sections.into_iter().map(|section| {
            let index = counted.get(&section.channel).copied().unwrap_or(0);
            let before = entry.sequence.offset(index);
            let decision = self.decide_section(head, &section, before, entry.at_ms);
            let messages = section.messages();
            if messages > 0 && matches!(decision, Decision::Commit { .. }) {
                *counted.entry(section.channel.clone()).or_default() += messages;
            }
            (section, decision)
        });
        decided.collect()
    }

    fn decide_section(
        &mut self,
        head: RecordHead,
        section: &Section,
        before: u64,
        at_ms: u64,
    ) -> Decision {
        let seat = (head.incarnation, section.session);
        match section.content {
            Content::Seat { publisher, .. } => {
                let name = Name::new(&section.channel, publisher);
                self.seats.mention(name, seat, at_ms);
            }
            Content::Run {
                by: Author::Publisher(publisher),
                ..
            } => {
                let name = Name::new(&section.channel, publisher);
                if self.seats.get(name).is_some_and(|taken| taken != seat) {
                    return Decision::Fenced;
                }
            }
            Content::Run {
                by: Author::Publication(named),
                messages,
                ..
            } if messages > 0 => {
                let place = (before + 1, before + u64::from(messages));
                return self.decide_named(&section.channel, named, place, at_ms);
            }
            Content::Run { .. } | Content::Hints { .. } => {}
        }
        Decision::Commit { before }
    }

    /// Decides about a publication with a name, which comes to that place if it was not there before.
    fn decide_named(
        &mut self,
        channel: &str,
        named: NamedPublication,
        (first, last): (u64, u64),
        at_ms: u64,
    ) -> Decision {
        let name = Name::new(channel, named.publisher);
        let before = self.named.get(name);
        let known = before.unwrap_or(Named {
            content: named.content,
            first,
            last,
            is_unsure: !self.is_sure(),
        });
        self.named.mention(name, known, at_ms);
        let (first, last) = (known.first, known.last);
        match before {
            None => Decision::Commit { before: first - 1 },
            Some(known) if known.is_unsure => Decision::OldRepeat,
            Some(known) if known.content != named.content => Decision::OtherContent,
            Some(_) => Decision::Repeat { first, last },
        }
    }
}

/// Returns `true` if the log has a record so late that it is void.
fn is_late(basis: Basis, entry: &LogEntry) -> bool {
    // Whoever makes the first record can know of none.
    let is_first = entry.sequence == Sequence(1) && basis.at_ms == 0;
    !is_first && entry.at_ms.saturating_sub(basis.at_ms) > LATE_MS
}
