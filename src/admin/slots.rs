//! The places of connections: a few, so that nobody can take the memory or the time of the thread with many.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::connection::Shared;

/// Most connections at once. Scrapers, probes and dashboards need one or two each.
const MOST: usize = 64;

/// The connections that there are, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Slots(RefCell<VecDeque<Rc<Shared>>>);

impl Slots {
    /// Takes a place for a new connection. Where there is none, the oldest connection goes that is not just being
    /// served: one that waits, sends no request, or does not take its answer. Returns `false` if there is none.
    pub(super) fn take(&self, connection: &Rc<Shared>) -> bool {
        let mut all = self.0.borrow_mut();
        if all.len() >= MOST {
            let Some(first) = all.iter().position(|other| other.may_go()) else {
                return false;
            };
            if let Some(gone) = all.remove(first) {
                gone.let_go();
            }
        }
        all.push_back(connection.clone());
        true
    }

    /// Gives the place of a connection back.
    pub(super) fn give_back(&self, connection: &Rc<Shared>) {
        self.0
            .borrow_mut()
            .retain(|other| !Rc::ptr_eq(other, connection));
    }
}
