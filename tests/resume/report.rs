//! Tells what a run has shown that was not as it was promised.

use std::fs;
use std::path::Path;

use crate::log::Entry;
use crate::oracle::{ActorFacts, Fault};
use crate::scenario::Scenario;

/// The actor's own last entries that are told.
const ENTRIES: usize = 12;

/// Says what a fault is, with what led to it, and writes the whole log to a file.
pub fn report(scenario: &Scenario, actors: &[ActorFacts], fault: &Fault, log: &[Entry]) -> String {
    let (test, seed) = (scenario.test(), scenario.seed);
    let name = format!("resume-{test}-{seed}.log");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut lines = vec![format!("{scenario:?}\n")];
    let numbered = actors.iter().enumerate();
    lines.extend(numbered.map(|(actor, facts)| format!("{actor:>3} is {}\n", facts.name)));
    let entries = log.iter().enumerate();
    lines.extend(entries.map(|(at, entry)| format!("{at:>6} {entry}\n")));
    fs::write(&file, lines.concat()).unwrap();
    let mut told = fault.what.clone();
    if let Some(at) = fault.at {
        let actor = log[at].actor;
        let name = &actors[actor].name;
        told = format!("entry {at}, actor {actor} ({name}): {told}");
        let own = log[..=at].iter().filter(|entry| entry.actor == actor);
        let own: Vec<_> = own
            .map(|entry| format!("\n    {:.200}", entry.to_string()))
            .collect();
        told.extend(
            own[own.len().saturating_sub(ENTRIES)..]
                .iter()
                .map(String::as_str),
        );
    }
    format!(
        "{told}\n  the log: {}\n  again: MLES_TEST_SEED={seed} cargo test --test resume {test}",
        file.display()
    )
}
