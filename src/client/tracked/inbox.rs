//! What a session has been told and its receiving half has not taken.

use std::collections::VecDeque;

use crate::client::event::Event;
use crate::protocol::Position;

/// Most losses of connections that wait; the oldest are left out.
const MAX_LOSSES: usize = 16;
/// Bytes from which on it is full.
const FULL: usize = 1 << 20;
/// Bytes that an event counts besides its frame.
const EVENT_COST: usize = 128;

/// The events that wait for the receiving half, in order.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Each with the position before it.
    events: VecDeque<(Event, Option<Position>)>,
    bytes: usize,
}

impl Inbox {
    /// Returns `true` if nothing should be read before some of it is taken.
    pub(super) const fn is_full(&self) -> bool {
        self.bytes >= FULL
    }

    /// Appends an event. Receipts are added to the last ones, if they follow them: nobody may listen.
    pub(super) fn push(&mut self, event: Event, before: Option<Position>) {
        if let Event::Confirmed { count, position } = event
            && self.extend_receipt(count, position)
        {
            return;
        }
        self.bytes += cost(&event);
        self.events.push_back((event, before));
    }

    /// Takes the first event out.
    pub(super) fn pop(&mut self) -> Option<Event> {
        let (event, _) = self.events.pop_front()?;
        self.bytes -= cost(&event);
        Some(event)
    }

    /// Returns the position before the first message, or hole; `None` if there is none.
    pub(super) fn position(&self) -> Option<Option<Position>> {
        let is_place = |event: &Event| {
            matches!(
                event,
                Event::Message(_) | Event::Malformed { .. } | Event::Gap { .. }
            )
        };
        let mut events = self.events.iter();
        let next = events.find(|(event, _)| is_place(event));
        next.map(|(_, before)| *before)
    }

    fn extend_receipt(&mut self, count: u64, position: Position) -> bool {
        let is_loss =
            |event: &Event| matches!(event, Event::Disconnected { .. } | Event::Reconnected);
        let last = self.events.iter_mut().rfind(|(event, _)| !is_loss(event));
        let Some((
            Event::Confirmed {
                count: told,
                position: last,
            },
            _,
        )) = last
        else {
            return false;
        };
        if last.epoch != position.epoch || last.offset + count != position.offset {
            return false;
        }
        *told += count;
        *last = position;
        true
    }

    /// Makes room for another loss: forgets connections that have come and gone before anybody was told, and the oldest
    /// losses.
    pub(super) fn forget_old_losses(&mut self) {
        let is_loss = |(event, _): &(Event, _)| matches!(event, Event::Disconnected { .. });
        let losses = self.events.iter().filter(|entry| is_loss(entry)).count();
        let mut excess = (losses + 1).saturating_sub(MAX_LOSSES);
        let mut forgotten = 0;
        self.events.retain(|entry| {
            let is_old = match entry.0 {
                Event::Reconnected => true,
                Event::Disconnected { .. } if excess > 0 => {
                    excess -= 1;
                    true
                }
                _ => false,
            };
            forgotten += usize::from(is_old);
            !is_old
        });
        self.bytes -= forgotten * EVENT_COST;
    }
}

fn cost(event: &Event) -> usize {
    EVENT_COST
        + match event {
            Event::Message(message) => message.frame().len(),
            Event::Malformed { frame, .. } => frame.len(),
            Event::Members { uids, .. } => cost_of_names(uids),
            Event::MembersChanged { joined, left, .. } => {
                cost_of_names(joined) + cost_of_names(left)
            }
            _ => 0,
        }
}

fn cost_of_names(names: &[Box<str>]) -> usize {
    names
        .iter()
        .map(|name| size_of_val(name) + name.len())
        .sum()
}
