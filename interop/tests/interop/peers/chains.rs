//! Chains of servers, two levels below the root: frames go both ways through all of them, and every
//! level hands out the history.

use super::{Chain, Ours, Reference, at_once, join, messages_until, tell_all};
use crate::support::{Secrets, ServerKind};

/// Runs each named scenario, a `fn([ServerKind; 3])`, with every mix of servers; the test's name
/// has them from the root down.
macro_rules! on_each_chain {
    ($($scenario:ident),+ $(,)?) => {
        $(mod $scenario {
            on_each_chain! {
                @mixes $scenario
                ours_ours_ours: Ours Ours Ours,
                ours_ours_reference: Ours Ours Reference,
                ours_reference_ours: Ours Reference Ours,
                ours_reference_reference: Ours Reference Reference,
                reference_ours_ours: Reference Ours Ours,
                reference_ours_reference: Reference Ours Reference,
                reference_reference_ours: Reference Reference Ours,
                reference_reference_reference: Reference Reference Reference,
            }
        })+
    };
    (@mixes $scenario:ident $($mix:ident: $root:ident $middle:ident $bottom:ident,)+) => {
        $(#[test]
        fn $mix() {
            super::$scenario([super::$root, super::$middle, super::$bottom]);
        })+
    };
}

on_each_chain!(
    frames_go_both_ways_through_all_levels,
    every_level_hands_out_the_history,
);

/// Servers without a secret take the hash of the address alone, as the reference does.
const SECRETS: [Secrets; 3] = [Secrets::NONE, Secrets::SHARED, Secrets::ADDRESS];

fn frames_go_both_ways_through_all_levels(kinds: [ServerKind; 3]) {
    at_once(
        &SECRETS.map(|secrets| (kinds, secrets)),
        |(kinds, secrets)| {
            let chain = Chain::start(&kinds, secrets);
            let mut members = chain.members("hello");
            for round in 0..10 {
                for from in 0..members.len() {
                    tell_all(&mut members, from, &format!("{round} from {from}"));
                }
            }
        },
    );
}

fn every_level_hands_out_the_history(kinds: [ServerKind; 3]) {
    let chain = Chain::start(&kinds, Secrets::SHARED);
    let mut members = chain.members("hello");
    let mut sent = vec!["hello".to_owned()];
    for n in 0..30 {
        sent.push(format!("message {n}"));
        tell_all(&mut members, n % kinds.len(), &sent[n + 1]);
    }
    for (level, server) in chain.0.iter().enumerate() {
        let mut late = join(server, &format!("late {level}"));
        assert_eq!(
            messages_until(&mut late, "message 29"),
            sent,
            "at level {level}"
        );
        members.push(late);
    }
    // Joining late has doubled nothing for anybody, and all are live.
    for from in 0..members.len() {
        tell_all(&mut members, from, &format!("live {from}"));
    }
}
