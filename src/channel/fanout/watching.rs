//! Notices for members that watch who is in the channel.

use bytes::Bytes;

use super::Fanout;
use crate::channel::encoding::Encoding;
use crate::channel::form::{Tracking, Watching};
#[cfg(feature = "server")]
use crate::channel::members::MemberKey;
use crate::channel::merger::Merger;
use crate::channel::presence::MemberNews;
use crate::protocol::Notice;

impl<T> Fanout<T> {
    /// Queues news of who is there for the members that watch: the changes for those who have the list, and the list
    /// for those who wait for it. Each is made once, however many get it. Returns how many they are.
    pub fn tell_members(&mut self, news: &MemberNews) -> usize {
        let mut notices = Notices {
            news,
            made: Vec::new(),
        };
        let mut merger = Merger::default();
        let mut count = 0;
        for (key, member) in self.members.iter_mut() {
            let encoding = member.form.encoding;
            let tracking = member.form.tracking.as_deref_mut();
            let Some(notice) = tracking.and_then(|tracking| notices.next_for(tracking, encoding))
            else {
                continue;
            };
            member.outbox.push_merging(notice, &mut merger);
            count += 1;
            if !std::mem::replace(&mut member.dirty, true) {
                self.dirty.push_back(key);
            }
        }
        count
    }

    /// Has a member that was too slow for some of the news wait for the list once more. Returns how many names it wants
    /// at most; `None` if it has lost nothing.
    #[cfg(feature = "server")]
    pub(crate) fn list_anew(&mut self, key: MemberKey) -> Option<usize> {
        let tracking = self.members.get_mut(key)?.form.tracking.as_mut()?;
        let Watching::Lost { names } = tracking.watching else {
            return None;
        };
        tracking.watching = Watching::Waits { names };
        Some(names)
    }
}

/// The notices that were made of some news: by their encoding, and by the names in a list.
struct Notices<'a> {
    news: &'a MemberNews,
    made: Vec<(&'static Encoding, Option<usize>, Bytes)>,
}

impl Notices<'_> {
    /// Returns what a member is told, if anything.
    fn next_for(&mut self, tracking: &mut Tracking, encoding: &'static Encoding) -> Option<Bytes> {
        match (tracking.watching, &self.news.list) {
            (Watching::Waits { names }, Some(list)) => {
                tracking.watching = Watching::Follows { names };
                let names = list_len(names, list.len());
                Some(self.get(tracking, encoding, Some(names)))
            }
            (Watching::Follows { .. }, _) if !self.news.changes.is_empty() => {
                Some(self.get(tracking, encoding, None))
            }
            _ => None,
        }
    }

    fn get(
        &mut self,
        tracking: &Tracking,
        encoding: &'static Encoding,
        names: Option<usize>,
    ) -> Bytes {
        let mut made = self.made.iter();
        let is_it = |(of, with, _): &&(&Encoding, _, _)| *of == encoding && *with == names;
        if let Some((_, _, notice)) = made.find(is_it) {
            return notice.clone();
        }
        let notice = tracking.encode(&self.notice(names));
        self.made.push((encoding, names, notice.clone()));
        notice
    }

    /// Returns the list with so many names, or the changes.
    fn notice(&self, names: Option<usize>) -> Notice {
        let count = self.news.count as u64;
        if let (Some(names), Some(list)) = (names, &self.news.list) {
            let uids = list[..names].to_vec();
            return Notice::Members { count, uids };
        }
        let changes = self.news.changes.clone();
        Notice::Changes {
            count,
            joined: changes.joined,
            left: changes.left,
        }
    }
}

/// Returns how many of `all` names a member is told that wants `names` at most. Where it cannot have all, the number is
/// rounded down, so that a crowd in which each wants another number costs a few lists and not one each.
fn list_len(names: usize, all: usize) -> usize {
    match names {
        _ if names >= all => all,
        0..10 => names,
        10..100 => names - names % 10,
        _ => names - names % 100,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::list_len;

    #[test]
    fn a_crowd_with_all_wishes_costs_few_lists() {
        for all in [0, 3, 10, 55, 1000, 5000] {
            let wishes = (0..=1000).map(|names| (names, list_len(names, all)));
            assert!(wishes.clone().all(|(names, len)| len <= names.min(all)));
            let whole = wishes.clone().filter(|(names, _)| *names >= all);
            assert!(whole.clone().all(|(_, len)| len == all));
            let lists: BTreeSet<_> = wishes.map(|(_, len)| len).collect();
            assert!(lists.len() <= 30, "{lists:?}");
        }
        let kept = [1, 5, 20, 50, 100, 500, 1000];
        assert_eq!(kept.map(|names| list_len(names, 5000)), kept);
    }
}
