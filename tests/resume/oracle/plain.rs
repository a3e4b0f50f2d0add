//! A member that does not ask: while its session is up it gets every message once, in the one order.

use std::collections::BTreeMap;

use mles::protocol::Epoch;

use super::Facts;
use super::order::Order;
use crate::payload::Body;

#[derive(Default)]
pub(super) struct PlainMember {
    sessions: Vec<PlainSession>,
}

struct PlainSession {
    epoch: Epoch,
    /// What it has got.
    got: Vec<Body>,
}

impl PlainMember {
    pub(super) fn join(&mut self, epoch: Epoch) {
        let got = Vec::new();
        self.sessions.push(PlainSession { epoch, got });
    }

    pub(super) fn message(&mut self, body: Body) -> Result<(), String> {
        if body == Body::Torn {
            return Err("a message that nobody has sent".to_owned());
        }
        let session = self.sessions.last_mut().ok_or("a message before a join")?;
        session.got.push(body);
        Ok(())
    }

    pub(super) fn check(
        &self,
        orders: &BTreeMap<u64, Order>,
        last: Epoch,
        facts: &Facts,
    ) -> Result<(), String> {
        for session in &self.sessions {
            let PlainSession { epoch, got } = session;
            let Some(order) = orders.get(&epoch.0) else {
                continue;
            };
            let is_whole = *epoch == last && facts.is_whole(order);
            let between = |last: u64, offset: u64| match facts.jumps() {
                true => is_whole.then(|| order.count(last + 1..offset + 1)),
                false => Some(offset - last),
            };
            let mut before: Option<(usize, u64)> = None;
            for (index, offset) in places(order, got) {
                let got = |at| (index - at) as u64;
                if let Some((at, last)) = before
                    && (offset <= last
                        || !facts.drops && between(last, offset).is_some_and(|all| all != got(at)))
                {
                    return Err(format!(
                        "message {at} of its session is at {last}, and message {index} at {offset}"
                    ));
                }
                before = Some((index, offset));
            }
            let all = got.iter().filter(|body| **body != Body::Junk).count();
            if is_whole && places(order, got).count() < all {
                return Err("it has got what nobody else has seen".to_owned());
            }
        }
        Ok(())
    }
}

/// Returns the index of each message whose place is known, and that place.
fn places(order: &Order, got: &[Body]) -> impl Iterator<Item = (usize, u64)> {
    let tagged = got.iter().enumerate();
    tagged.filter_map(|(index, body)| match body {
        Body::Tagged(tag) => Some((index, order.place_of(*tag)?)),
        _ => None,
    })
}
