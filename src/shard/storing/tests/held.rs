//! Runs that are on disk before anybody sees them.

use std::time::Duration;

use super::disk::Disk;
use super::world::{World, settings};
use crate::channel::HistoryStorage;
use crate::protocol::{Key, Position};
use crate::settings::{Settings, StoreSync};
use crate::shard::labels::RefusalReason;
use crate::shard::refusal::{Refusal, StoreTrouble};

/// Long enough that it is never over in a test, and short enough for those that wait for it.
const DEADLINE: Duration = Duration::from_millis(1500);

fn synced() -> Settings {
    let mut settings = settings();
    settings.store.sync = StoreSync::Batch;
    settings
}

#[test]
fn nobody_sees_what_is_not_on_disk() {
    let world = World::new(synced());
    let mut disk = Disk::default();
    let first = world.begin(None, "room", "1");
    let batch = world.next();
    assert!(first.poll().is_none());
    let (epoch, texts, _) = world.read("room", None);
    assert_eq!(texts, Vec::<String>::new());
    disk.write(batch);
    let receipt = first.answer().unwrap();
    assert_eq!((receipt.epoch, receipt.first), (epoch, 1));
    assert_eq!(world.read("room", None).1, ["1"]);
    assert_eq!(disk.texts("room"), "1: 1");
}

#[test]
fn what_gathers_meanwhile_is_written_together_and_keeps_its_order() {
    let world = World::new(synced());
    let mut disk = Disk::default();
    let first = world.begin(None, "room", "1");
    let batch = world.next();
    let others: Vec<_> = ["2", "3", "4"]
        .iter()
        .map(|text| world.begin(None, "room", text))
        .collect();
    world.wait_until_held(4 * 256);
    world.relay("room", "5");
    disk.write(batch);
    assert_eq!(first.offset(), 1);
    assert!(others.iter().all(|other| other.poll().is_none()));
    assert_eq!(world.write(&mut disk), ["room 2: 2 3 4 5"]);
    let offsets: Vec<_> = others.iter().map(|other| other.offset()).collect();
    assert_eq!(offsets, [2, 3, 4]);
    world.write_all(&mut disk, |disk| disk.texts("room") == "1: 1 2 3 4 5");
    assert_eq!(world.read("room", None).1, ["1", "2", "3", "4", "5"]);
}

#[test]
fn a_restart_knows_what_was_written_and_not_committed() {
    let world = World::new(synced());
    let mut disk = Disk::default();
    let first = world.begin(Some(7), "room", "1");
    world.write(&mut disk);
    let before = first.answer().unwrap();
    world.kill();
    let world = World::restored(synced(), disk.loaded());
    let again = world.begin(Some(7), "room", "1").answer().unwrap();
    assert!(again.is_repeat, "{again:?}");
    assert_eq!((again.epoch, again.first), (before.epoch, before.first));
    let next = world.begin(None, "room", "2");
    world.write_all(&mut disk, |disk| disk.texts("room") == "1: 1 2");
    assert_eq!(next.offset(), 2);
}

#[test]
fn what_runs_tell_of_a_publisher_stays_on_disk_when_they_go() {
    let mut settings = synced();
    settings.channels.default.history_frames = 2;
    let world = World::new(settings.clone());
    let mut disk = Disk::default();
    let first = world.begin(Some(7), "room", "1");
    world.write(&mut disk);
    let before = first.answer().unwrap();
    // Only its run tells of it.
    assert!(disk.publishers("room").is_empty());
    world.kill();
    let world = World::restored(settings.clone(), disk.loaded());
    let others = ["2", "3"].map(|text| world.begin(None, "room", text));
    world.write_all(&mut disk, |disk| disk.texts("room") == "2: 2 3");
    assert_eq!(others.map(|other| other.offset()), [2, 3]);
    world.kill();
    let world = World::restored(settings, disk.loaded());
    let again = world.publish_as(7, "room", "1");
    assert!(again.is_repeat, "{again:?}");
    assert_eq!((again.epoch, again.first), (before.epoch, before.first));
}

#[test]
fn no_join_is_told_that_its_publisher_is_counted_anew_before_that_is_on_disk() {
    let world = World::new(synced());
    let mut disk = Disk::default();
    let first = world.begin(None, "room", "1");
    world.write_all(&mut disk, |disk| disk.texts("room") == "1: 1");
    let epoch = first.answer().unwrap().epoch;
    let since = Position { epoch, offset: 1 };
    world.join_as(7, "room", 1, since);
    // The first has given up by now, for all that its client knows.
    world.join_as(7, "room", 2, since);
    assert_eq!(world.stats().joined.get(), 0);
    world.write_all(&mut disk, |disk| disk.publishers("room") == [7]);
    world.wait_until_joined(2);
}

#[test]
fn who_would_be_counted_anew_comes_again_while_the_store_cannot_write() {
    let world = World::new(synced());
    let mut disk = Disk::default();
    let first = world.begin(None, "room", "1");
    world.refuse();
    world.wait_until_paused("room", true);
    let epoch = world.read("room", None).0;
    world.join_as(7, "room", 1, Position { epoch, offset: 0 });
    assert_eq!(world.stats().refused.of(RefusalReason::Store).get(), 1);
    world.write_all(&mut disk, |disk| disk.texts("room") == "1: 1");
    assert_eq!(first.offset(), 1);
    assert!(disk.publishers("room").is_empty());
}

#[test]
fn keys_of_what_is_held_do_not_come_into_the_history_when_they_are_cleared() {
    let world = World::new(synced());
    let mut disk = Disk::default();
    let first = world.begin(None, "room", "1");
    world.write(&mut disk);
    first.answer().unwrap();
    assert_eq!(world.read_keys("room"), [Key(1)]);
    let held = world.begin(None, "room", "2");
    let batch = world.next();
    world.hide_keys();
    assert_eq!(world.read_keys("room"), [Key(0)]);
    disk.write(batch);
    assert_eq!(held.offset(), 2);
    assert_eq!(world.read_keys("room"), [Key(0), Key(0)]);
    assert_eq!(world.held_bytes(), 0);
}

#[test]
fn what_is_published_again_while_it_is_held_is_there_once() {
    let world = World::new(synced());
    let mut disk = Disk::default();
    let first = world.begin(Some(7), "room", "1");
    let batch = world.next();
    let again = world.begin(Some(7), "room", "1");
    let other = world.begin(Some(8), "room", "2");
    world.wait_until_held(2 * 256);
    disk.write(batch);
    assert_eq!(first.offset(), 1);
    world.write_all(&mut disk, |disk| disk.texts("room") == "1: 1 2");
    assert_eq!(other.offset(), 2);
    let again = again.answer().unwrap();
    assert_eq!((again.first, again.is_repeat), (1, true));
}

#[test]
fn a_name_that_is_on_disk_stands_for_nothing_else() {
    let world = World::new(synced());
    let mut disk = Disk::default();
    let first = world.begin(Some(7), "room", "1");
    let other = world.begin(Some(7), "room", "2");
    world.write_all(&mut disk, |disk| disk.texts("room") == "1: 1");
    assert_eq!(first.offset(), 1);
    let other = other.answer();
    assert!(matches!(other, Err(Refusal::OtherContent)), "{other:?}");
}

#[test]
fn publishers_wait_for_a_store_that_cannot_write_and_go_on_by_themselves() {
    let world = World::new(synced());
    let mut disk = Disk::default();
    let first = world.begin(None, "room", "1");
    assert_eq!(world.refuse(), ["room 1: 1"]);
    world.wait_until_paused("room", true);
    let second = world.begin(None, "room", "2");
    // It waits outside, and what was taken is handed over once more.
    assert_eq!(world.refuse(), ["room 1: 1"]);
    assert!(first.poll().is_none() && second.poll().is_none());
    world.write_all(&mut disk, |disk| disk.texts("room") == "1: 1 2");
    assert_eq!((first.offset(), second.offset()), (1, 2));
    world.wait_until_paused("room", false);
}

#[test]
fn nobody_joins_with_a_message_while_the_store_cannot_write() {
    let world = World::new(synced());
    let mut disk = Disk::default();
    let first = world.begin(None, "room", "1");
    world.refuse();
    world.wait_until_paused("room", true);
    let before = world.held_bytes();
    world.join_with("room", "2");
    assert_eq!(world.held_bytes(), before);
    assert_eq!(world.stats().refused.of(RefusalReason::Store).get(), 1);
    world.write_all(&mut disk, |disk| disk.texts("room") == "1: 1");
    assert_eq!(first.offset(), 1);
    world.wait_until_paused("room", false);
    world.join_with("room", "2");
    world.write_all(&mut disk, |disk| disk.texts("room") == "1: 1 2");
}

#[test]
fn what_follows_a_join_frame_waits_outside_while_the_store_cannot_write() {
    let world = World::new(synced());
    let mut disk = Disk::default();
    let first = world.begin(None, "room", "1");
    world.refuse();
    world.wait_until_paused("room", true);
    let before = world.held_bytes();
    let _client = world.join_and_send("room", "2");
    assert_eq!(world.stats().joined.get(), 1);
    assert_eq!(world.held_bytes(), before);
    world.write_all(&mut disk, |disk| disk.texts("room") == "1: 1 2");
    assert_eq!(first.offset(), 1);
}

#[test]
fn what_follows_a_join_frame_goes_with_its_session() {
    let world = World::new(synced());
    let mut disk = Disk::default();
    let first = world.begin(None, "room", "1");
    world.refuse();
    world.wait_until_paused("room", true);
    let _client = world.join_send_and_end("room", "2");
    // While the store cannot write: its connection counts until then.
    world.wait_until_orphaned(1);
    world.write_all(&mut disk, |disk| disk.texts("room") == "1: 1");
    assert_eq!(first.offset(), 1);
    assert_eq!(world.read("room", None).1, ["1"]);
}

#[test]
fn latency_is_sampled_of_what_is_held() {
    let world = World::new(synced());
    let mut disk = Disk::default();
    let first = world.begin_sampled("room", "1");
    let batch = world.next();
    let observed = || world.stats().queued.buckets().iter().sum::<u64>();
    assert_eq!(observed(), 0);
    disk.write(batch);
    assert_eq!(first.offset(), 1);
    // It is sampled in the turn in which it is committed.
    let _ = world.held_bytes();
    assert_eq!(observed(), 1);
}

#[test]
fn who_publishes_is_told_why_it_is_not_taken() {
    let mut settings = synced();
    settings.channels.default.write_deadline = DEADLINE;
    let world = World::new(settings);
    let first = world.begin(None, "room", "1");
    world.refuse();
    world.wait_until_paused("room", true);
    let second = world.begin(None, "room", "2");
    let mut answers = [&first, &second].map(|_| None);
    while answers.iter().any(Option::is_none) {
        if let Some(batch) = world.poll() {
            World::refuse_batch(batch);
        }
        for (answer, publishing) in answers.iter_mut().zip([&first, &second]) {
            if answer.is_none() {
                *answer = publishing.poll();
            }
        }
    }
    let [first, second] = answers;
    // What was taken may still come; what was not does not.
    assert!(
        matches!(first, Some(Err(Refusal::Undecided(StoreTrouble::Slow)))),
        "{first:?}"
    );
    assert!(
        matches!(second, Some(Err(Refusal::Unwritten(StoreTrouble::Slow)))),
        "{second:?}"
    );
}

#[test]
fn a_channel_in_which_something_is_held_is_not_closed() {
    let mut settings = synced();
    settings.channels.default.idle_ttl = Duration::from_millis(50);
    settings.limits.max_channels = 1;
    let world = World::new(settings.clone());
    let mut disk = Disk::default();
    let first = world.begin(None, "room", "1");
    let batch = world.next();
    let other = world.begin(None, "other", "1");
    assert!(matches!(other.answer(), Err(Refusal::TooManyChannels)));
    // One that is opened later, and holds nothing, is closed.
    settings.limits.max_channels = 2;
    world.reload(settings);
    world.read("other", None);
    world.wait_until_closed("other");
    assert!(world.is_open("room"));
    disk.write(batch);
    assert_eq!(first.offset(), 1);
    world.write_all(&mut disk, |disk| disk.names().is_empty());
}

#[test]
fn a_drain_waits_for_what_is_held() {
    let world = World::new(synced());
    let mut disk = Disk::default();
    let first = world.begin(None, "room", "1");
    let batch = world.next();
    world.drain();
    assert!(first.poll().is_none());
    disk.write(batch);
    assert_eq!(first.offset(), 1);
    world.write_until_end(&mut disk);
    assert!(world.ends_saved());
    assert_eq!(disk.texts("room"), "1: 1");
}

#[test]
fn a_reload_commits_what_is_held_before_a_channel_is_in_memory() {
    let world = World::new(synced());
    let mut disk = Disk::default();
    let first = world.begin(None, "room", "1");
    let batch = world.next();
    let mut in_memory = synced();
    in_memory.channels.default.history = HistoryStorage::Memory;
    world.reload(in_memory);
    let second = world.begin(None, "room", "2");
    world.wait_until_held(2 * 256);
    disk.write(batch);
    world.write_all(&mut disk, |disk| disk.names().is_empty());
    assert_eq!((first.offset(), second.offset()), (1, 2));
    world.publish("room", &["3"]);
    assert_eq!(world.read("room", None).1, ["1", "2", "3"]);
}
