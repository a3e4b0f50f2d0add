//! One shard on its own thread, with the test in the place of the writer.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod disk;
mod held;
mod world;

use std::time::{Duration, Instant};

use super::ShardStore;
use crate::channel::{ChannelSettings, HistoryStorage, SlowPolicy};
use crate::settings::{Settings, StoreSync};
use crate::shard::ids::ShardId;
use crate::shard::thread::seeds;
use crate::store::{ChannelKey, StoreHandle};
use disk::Disk;
use world::{World, settings};

#[test]
fn only_what_is_new_is_handed_over() {
    let world = World::new(settings());
    let mut disk = Disk::default();
    world.publish("room", &["1", "2"]);
    world.write_all(&mut disk, |disk| disk.texts("room") == "1: 1 2");
    world.publish("room", &["3"]);
    assert_eq!(world.write(&mut disk), ["room 3: 3"]);
    assert_eq!(disk.texts("room"), "1: 1 2 3");
}

#[test]
fn a_channel_in_memory_is_never_handed_over() {
    let mut settings = settings();
    let memory = ChannelSettings {
        history: HistoryStorage::Memory,
        slow_policy: SlowPolicy::Disconnect,
        ..ChannelSettings::default()
    };
    settings.channels.patterns = vec![("memory.*".to_owned(), memory)];
    let world = World::new(settings);
    let mut disk = Disk::default();
    world.publish("memory.a", &["1"]);
    world.publish("disk.a", &["1"]);
    assert_eq!(world.write(&mut disk), ["disk.a 1: 1"]);
    assert_eq!(disk.names(), ["disk.a"]);
}

#[test]
fn a_channel_goes_on_after_a_restart() {
    let world = World::new(settings());
    let mut disk = Disk::default();
    let first = world.publish_as(7, "room", "1");
    world.publish("room", &["2"]);
    world.write_all(&mut disk, |disk| disk.texts("room") == "1: 1 2");
    world.kill();

    let world = World::restored(settings(), disk.loaded());
    let (epoch, texts, recovered) = world.read("room", Some((first.epoch, 1)));
    assert_eq!((epoch, recovered), (first.epoch, true));
    assert_eq!(texts, ["2"]);
    let again = world.publish_as(7, "room", "1");
    assert!(again.is_repeat, "{again:?}");
    assert_eq!((again.epoch, again.first), (first.epoch, 1));
    let next = world.publish_as(8, "room", "3");
    assert_eq!((next.epoch, next.first), (first.epoch, 3));
    world.write_all(&mut disk, |disk| disk.texts("room") == "1: 1 2 3");
}

#[test]
fn what_could_not_be_written_is_handed_over_again() {
    let world = World::new(settings());
    let mut disk = Disk::default();
    world.publish_as(7, "room", "1");
    assert_eq!(world.refuse(), ["room 1: 1"]);
    world.publish("room", &["2"]);
    assert_eq!(world.refuse(), ["room 1: 1 2"]);
    world.write_all(&mut disk, |disk| disk.texts("room") == "1: 1 2");
    assert_eq!(disk.publishers("room"), [7]);
}

#[test]
fn the_lag_counts_what_waits_for_the_next_batch() {
    let mut slow = settings();
    slow.store.sync = crate::settings::StoreSync::Interval(Duration::from_secs(3600));
    let world = World::new(slow);
    let mut disk = Disk::default();
    world.publish("room", &["1"]);
    world.write_all(&mut disk, |disk| disk.texts("room") == "1: 1");
    world.wait_until_written();
    world.publish("room", &["2"]);
    let published = Instant::now();
    let waited = published.elapsed();
    assert!(world.lag() >= waited && !world.lag().is_zero());
    world.drain();
    world.write_all(&mut disk, |disk| disk.texts("room") == "1: 1 2");
    world.wait_until_written();
}

#[test]
fn what_the_history_has_dropped_meanwhile_is_not_written() {
    let mut settings = settings();
    settings.channels.default.history_frames = 2;
    let world = World::new(settings);
    let mut disk = Disk::default();
    world.publish("room", &["1"]);
    let batch = world.next();
    world.publish("room", &["2", "3", "4", "5", "6"]);
    disk.write(batch);
    assert_eq!(world.write(&mut disk), ["room 5: 5 6"]);
    assert_eq!(disk.texts("room"), "5: 5 6");
}

#[test]
fn a_channel_that_has_been_idle_for_too_long_is_forgotten() {
    let mut settings = settings();
    settings.channels.default.idle_ttl = Duration::from_millis(100);
    let world = World::new(settings.clone());
    let mut disk = Disk::default();
    world.publish("room", &["1"]);
    world.write_all(&mut disk, |disk| disk.names() == ["room"]);
    world.write_all(&mut disk, |disk| disk.names().is_empty());

    // It goes on being idle while there is no server.
    world.publish("room", &["1"]);
    world.write_all(&mut disk, |disk| disk.names() == ["room"]);
    let loaded = disk.loaded();
    world.kill();
    let world = World::restored(settings, loaded);
    world.write_all(&mut disk, |disk| disk.names().is_empty());
}

#[test]
fn a_channel_that_makes_room_is_forgotten() {
    let mut settings = settings();
    settings.limits.max_channels = 1;
    let world = World::new(settings);
    let mut disk = Disk::default();
    world.publish("a", &["1"]);
    world.write_all(&mut disk, |disk| disk.names() == ["a"]);
    world.publish("b", &["1"]);
    world.write_all(&mut disk, |disk| disk.names() == ["b"]);
}

#[test]
fn channels_that_have_no_place_at_the_start_are_forgotten() {
    let world = World::new(settings());
    let mut disk = Disk::default();
    for name in ["a", "b", "c"] {
        world.publish(name, &["1"]);
        world.write_all(&mut disk, |disk| disk.names().contains(&name.to_owned()));
    }
    world.kill();
    let mut settings = settings();
    settings.limits.max_channels = 2;
    let world = World::restored(settings, disk.loaded());
    world.write_all(&mut disk, |disk| disk.names() == ["b", "c"]);
    // The one that was used last is the last to make room.
    world.publish("d", &["1"]);
    world.write_all(&mut disk, |disk| disk.names() == ["c", "d"]);
}

#[test]
fn what_has_no_place_in_a_history_at_the_start_is_counted() {
    let world = World::new(settings());
    let mut disk = Disk::default();
    for publisher in 1..=5 {
        world.publish_as(publisher, "room", "x");
    }
    world.write_all(&mut disk, |disk| disk.texts("room") == "1: x x x x x");
    world.kill();
    let mut settings = settings();
    settings.channels.default.history_frames = 2;
    settings.channels.default.publishers_limit = 1;
    let world = World::restored(settings, disk.loaded());
    assert_eq!(world.restored_messages(), 2);
    assert_eq!(world.stats().publishers_forgotten.get(), 4);
    world.write_all(&mut disk, |disk| disk.texts("room") == "4: x x");
}

/// Creates the store of a shard that does not run.
fn store() -> ShardStore {
    let (handle, _writer) = StoreHandle::for_tests();
    let (common, _) = seeds(settings(), None, 1, None, None);
    ShardStore::new(handle.into(), StoreSync::Batch, ShardId(0), common)
}

#[test]
fn channels_that_are_closed_are_forgotten_some_at_a_time() {
    let store = store();
    let unsaved = &store.unsaved;
    (0..5).for_each(|key| unsaved.forget(ChannelKey(key)));
    assert_eq!(unsaved.take_forgotten(3), [0, 1, 2].map(ChannelKey));
    assert_eq!(unsaved.take_forgotten(3), [3, 4].map(ChannelKey));
    assert_eq!(unsaved.take_forgotten(3), []);
}

#[test]
fn all_last_batches_together_have_one_deadline() {
    let store = store();
    let deadline = store.stops_by();
    std::thread::sleep(Duration::from_millis(2));
    assert_eq!(store.stops_by(), deadline);
}

#[test]
fn a_history_that_is_cleared_is_cleared_on_disk() {
    let world = World::new(settings());
    let mut disk = Disk::default();
    world.publish("room", &["1", "2"]);
    world.write_all(&mut disk, |disk| disk.texts("room") == "1: 1 2");
    world.clear("room");
    world.write_all(&mut disk, |disk| disk.texts("room") == "3:");
    world.publish("room", &["3"]);
    world.write_all(&mut disk, |disk| disk.texts("room") == "3: 3");
}

#[test]
fn what_is_too_old_goes_on_disk_as_well() {
    let mut settings = settings();
    settings.channels.default.history_age = Some(Duration::from_millis(50));
    settings.channels.default.idle_ttl = Duration::from_secs(1);
    let world = World::new(settings);
    let mut disk = Disk::default();
    world.publish("room", &["1"]);
    world.write_all(&mut disk, |disk| disk.texts("room") == "1: 1");
    world.write_all(&mut disk, |disk| disk.texts("room") == "2:");
}

#[test]
fn a_reload_moves_a_channel_to_disk_and_back() {
    let mut in_memory = settings();
    in_memory.channels.default.history = HistoryStorage::Memory;
    let world = World::new(in_memory.clone());
    let mut disk = Disk::default();
    world.publish("room", &["1"]);
    world.reload(settings());
    world.write_all(&mut disk, |disk| disk.texts("room") == "1: 1");
    world.reload(in_memory);
    world.write_all(&mut disk, |disk| disk.names().is_empty());
    world.publish("room", &["2"]);
    assert!(world.is_silent());
}

#[test]
fn a_drain_hands_over_the_rest_and_a_stop_at_once_does_not() {
    let mut slow = settings();
    slow.store.sync = StoreSync::Interval(Duration::from_secs(3600));
    let mut disk = Disk::default();
    for drains in [true, false] {
        let world = World::new(Settings { ..slow.clone() });
        world.publish("room", &["1"]);
        world.write_all(&mut disk, |disk| disk.texts("room") == "1: 1");
        world.publish("room", &["2"]);
        if drains {
            world.drain();
            world.write_all(&mut disk, |disk| disk.texts("room") == "1: 1 2");
            assert!(world.ends_saved());
        } else {
            world.kill();
        }
        disk = Disk::default();
    }
}

#[test]
fn a_drain_that_cannot_write_says_so() {
    let mut slow = settings();
    slow.store.sync = StoreSync::Interval(Duration::from_secs(3600));
    let world = World::new(slow);
    let mut disk = Disk::default();
    world.publish("room", &["1"]);
    world.write_all(&mut disk, |disk| disk.texts("room") == "1: 1");
    world.publish("room", &["2"]);
    world.drain();
    world.refuse_all();
    assert!(!world.ends_saved());
}
