//! Notes on differences that make two reports less comparable than they seem.

use crate::report::Report;

/// Returns in what the two are not alike besides their figures.
pub(super) fn of(before: &Report, after: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    let (old, new) = (&before.environment, &after.environment);
    let cores = [old, new].map(|it| it.cores.to_string());
    for (what, old, new) in [
        ("processor", &old.cpu, &new.cpu),
        ("cores", &cores[0], &cores[1]),
        ("kernel", &old.kernel, &new.kernel),
        (
            "congestion control",
            &old.congestion_control,
            &new.congestion_control,
        ),
    ] {
        if old != new && !old.is_empty() && !new.is_empty() {
            notes.push(format!("another {what}: {old}, then {new}"));
        }
    }
    for (broker, provenance) in &before.brokers {
        let other = after.brokers.get(broker).map(|it| &it.version);
        if let Some(version) = other.filter(|version| **version != provenance.version) {
            let old = &provenance.version;
            notes.push(format!("another {}: {old}, then {version}", broker.name()));
        }
    }
    if format!("{:?}", before.timing) != format!("{:?}", after.timing) {
        notes.push("they were not measured for the same time".to_owned());
    }
    for (scenario, load) in &before.scenarios {
        let other = after.scenarios.get(scenario);
        if other.is_some_and(|other| format!("{other:?}") != format!("{load:?}")) {
            notes.push(format!("{scenario} was not the same load in both"));
        }
    }
    notes
}
