//! What changes for a member that loses a right while it is there, or gets one back.

use super::Fanout;
use crate::channel::encoding::Encoding;
use crate::channel::form::Watching;
use crate::channel::member::Member;
use crate::channel::members::MemberKey;
use crate::channel::outbox::Dropped;
use crate::protocol::Position;

impl<T> Fanout<T> {
    /// Drops what is queued for a member, and queues no messages of others for it from now on. A member that has asked
    /// for positions is told how many those are, and gets receipts all the same. `newest` is the position of the last
    /// message that was delivered here, if they are numbered.
    pub(crate) fn silence(&mut self, key: MemberKey, newest: Option<Position>) -> Dropped {
        self.change(key, |member| {
            if member.form.encoding.is_silent() {
                return Dropped::default();
            }
            let dropped = member.drop_all();
            member.form.encoding = member.form.encoding.silent();
            if let (Some(tracking), Some(newest)) = (&mut member.form.tracking, newest) {
                tracking.tell_up_to(newest);
            }
            dropped
        })
    }

    /// Queues messages of others, in this encoding, for a member again that was [silenced](Self::silence). A member that
    /// has asked for positions is told how many it has missed.
    pub(crate) fn unsilence(
        &mut self,
        key: MemberKey,
        encoding: &'static Encoding,
        newest: Option<Position>,
    ) {
        self.change(key, |member| {
            if !member.form.encoding.is_silent() {
                return;
            }
            member.form.encoding = encoding;
            if let (Some(tracking), Some(newest)) = (&mut member.form.tracking, newest)
                && let Some(told) = tracking.tell_up_to(newest)
            {
                member.outbox.push(told);
            }
        });
    }

    /// Drops what is left of a member's history.
    pub(crate) fn drop_history(&mut self, key: MemberKey) -> Dropped {
        self.change(key, |member| match member.replay {
            0 => Dropped::default(),
            _ => {
                let live = member.live_cost();
                member.outbox.drop_oldest(live, &mut member.form)
            }
        })
    }

    /// Tells a member nothing more of who is there. Returns `true` if it was told before.
    pub(crate) fn stop_watching(&mut self, key: MemberKey) -> bool {
        let member = self.members.get_mut(key);
        let tracking = member.and_then(|member| member.form.tracking.as_mut());
        tracking.is_some_and(|tracking| {
            std::mem::replace(&mut tracking.watching, Watching::No) != Watching::No
        })
    }

    /// Changes what is queued for a member.
    fn change<R: Default>(
        &mut self,
        key: MemberKey,
        change: impl FnOnce(&mut Member<T>) -> R,
    ) -> R {
        let Some(member) = self.members.get_mut(key) else {
            return R::default();
        };
        let changed = change(member);
        member.replay = member.replay.min(member.outbox.cost());
        if !member.outbox.is_empty() {
            self.mark_dirty(key);
        }
        changed
    }
}
