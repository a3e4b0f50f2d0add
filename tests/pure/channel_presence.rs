//! The changes of members that are still to be told, against lists of all names.

use mles::channel::{Difference, NameLimit, PendingChanges};
use proptest::collection::vec;
use proptest::prelude::*;

const ALL: NameLimit = NameLimit {
    names: usize::MAX,
    bytes: usize::MAX,
};

#[derive(Clone, Debug)]
enum Op {
    Join(u8),
    /// One of those that are there leaves.
    Leave(usize),
    Tell(NameLimit),
}

fn op() -> impl Strategy<Value = Op> {
    let names = prop_oneof![1..6_usize, Just(usize::MAX)];
    let bytes = prop_oneof![1..60_usize, Just(usize::MAX)];
    let tell = (names, bytes).prop_map(|(names, bytes)| Op::Tell(NameLimit { names, bytes }));
    prop_oneof![
        8 => (0..12_u8).prop_map(Op::Join),
        6 => any::<usize>().prop_map(Op::Leave),
        3 => tell,
    ]
}

fn sorted<T: Ord>(names: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort();
    names
}

/// What a client does that was told who is there.
fn apply(known: &mut Vec<String>, difference: &Difference) {
    for uid in &difference.left {
        let at = known.iter().position(|known| **known == **uid);
        known.swap_remove(at.expect("it was there"));
    }
    known.extend(difference.joined.iter().map(|uid| uid.to_string()));
}

fn assert_within(limit: NameLimit, difference: &Difference) {
    let names: Vec<_> = difference.joined.iter().chain(&difference.left).collect();
    assert!(names.len() <= limit.names);
    // The one that came last may be longer than there was room, and it is no longer than the longest.
    let lengths = || names.iter().map(|uid| uid.len());
    let before = lengths().sum::<usize>() - lengths().max().unwrap_or(0);
    assert!(before < limit.bytes, "{before} bytes before the last");
    let is_both = |uid| difference.left.contains(uid);
    assert!(!difference.joined.iter().any(is_both), "{difference:?}");
}

proptest! {
    /// Who is told at any times, in batches of any size, knows who is there; and so does who asks in between and is told
    /// what the others have been told.
    #[test]
    fn whoever_is_told_knows_who_is_there(ops in vec(op(), 1..200)) {
        let mut pending = PendingChanges::default();
        let (mut present, mut known) = (Vec::<String>::new(), Vec::<String>::new());
        for op in ops {
            match op {
                Op::Join(name) => {
                    let uid = "x".repeat(usize::from(name)) + &name.to_string();
                    pending.join(&uid);
                    present.push(uid);
                }
                Op::Leave(at) if !present.is_empty() => {
                    let uid = present.swap_remove(at % present.len());
                    pending.leave(&uid);
                }
                Op::Leave(_) => {}
                Op::Tell(limit) => {
                    let before = pending.len();
                    let difference = pending.take(limit);
                    assert_within(limit, &difference);
                    prop_assert_eq!(difference == Difference::default(), before == 0);
                    apply(&mut known, &difference);
                }
            }
            let told = pending.as_told(present.iter().map(|uid| &**uid));
            prop_assert_eq!(sorted(told), sorted(known.iter().map(|uid| &**uid)));
        }
        apply(&mut known, &pending.take(ALL));
        prop_assert!(pending.is_empty());
        prop_assert_eq!(sorted(known), sorted(present));
    }

    /// However many others change, a uid is told about by the time that all of them could have been.
    #[test]
    fn none_waits_for_ever(uid in "[a-z]{1,4}", others in vec("[a-z]{1,4}", 1..40)) {
        let mut pending = PendingChanges::default();
        pending.join(&uid);
        let limit = NameLimit { names: 1, ..ALL };
        for _ in 0..=others.len() {
            let difference = pending.take(limit);
            if difference.joined.iter().any(|told| **told == *uid) {
                return Ok(());
            }
            for other in others.iter().filter(|other| **other != uid) {
                pending.leave(other);
            }
        }
        prop_assert!(false, "{} was not told about", uid);
    }
}

#[test]
fn who_comes_and_leaves_is_not_told_about() {
    let mut pending = PendingChanges::default();
    pending.join("ann");
    pending.leave("bob");
    pending.leave("ann");
    pending.join("bob");
    assert!(pending.is_empty());
    assert_eq!(pending.take(ALL), Difference::default());
}
