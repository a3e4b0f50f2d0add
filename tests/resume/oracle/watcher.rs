//! A member that wants to know who is there, for as long as one session lasts.

use std::collections::BTreeMap;

use crate::notice::{Changes, Members};

#[derive(Default)]
pub(super) struct Watcher {
    /// How often each uid is there; `None` while that is not known of all.
    names: Option<BTreeMap<String, usize>>,
}

impl Watcher {
    /// Nothing that was known counts any more.
    pub(super) fn lose(&mut self) {
        self.names = None;
    }

    pub(super) fn members(&mut self, members: &Members) -> Result<(), String> {
        self.names = None;
        let (count, named) = (members.count, members.uids.len() as u64);
        if count == 0 || named > count {
            return Err(format!("{named} of {count} members have names"));
        }
        if named == count {
            let names = self.names.insert(BTreeMap::new());
            members.uids.iter().for_each(|uid| come(names, uid));
        }
        Ok(())
    }

    pub(super) fn changes(&mut self, changes: &Changes) -> Result<(), String> {
        let Some(names) = &mut self.names else {
            return Ok(());
        };
        changes.joined.iter().for_each(|uid| come(names, uid));
        for uid in &changes.left {
            match names.get_mut(uid) {
                Some(times @ 1..) => *times -= 1,
                _ => return Err(format!("{uid} has left, and was not there")),
            }
        }
        let there = names.values().sum::<usize>() as u64;
        if there != changes.count {
            return Err(format!("{} members, and {there} are known", changes.count));
        }
        Ok(())
    }
}

fn come(names: &mut BTreeMap<String, usize>, uid: &str) {
    *names.entry(uid.to_owned()).or_default() += 1;
}
