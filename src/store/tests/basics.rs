//! Histories that were handed over go on after a restart.

use super::*;

#[test]
fn a_store_that_was_closed_goes_on_as_it_was() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, loaded) = open_all(dir.path(), &interval());
    assert!(loaded.channels.is_empty());
    let mut room = TestChannel::new(&store, "room");
    let runs = vec![room.publish(3, 10), room.publish(1, 5000)];
    room.state.idle_since = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(5));
    write(&store, vec![room.save(runs.clone())]).expect("it is written");
    store.close();
    drop(store);

    let (store, again) = open_all(dir.path(), &interval());
    assert_eq!(again.secret, loaded.secret);
    let [channel] = &again.channels[..] else {
        panic!("{again:?}");
    };
    assert_eq!(channel.state, room.state);
    for (loaded, saved) in channel.runs.iter().zip(&runs) {
        assert_eq!(loaded.run.bytes(), saved.run.bytes());
        assert_eq!(loaded.run.frames(), saved.run.frames());
        assert_eq!((loaded.end, loaded.messages), (saved.end, saved.messages));
        assert_eq!((loaded.at, loaded.origin), (saved.at, saved.origin));
    }
    assert!(store.next_key() > room.state.key);
}

#[test]
fn an_order_ends_where_messages_may_be_missing() {
    for (sync, goes_on) in [
        (StoreSync::Batch, true),
        (StoreSync::Interval(Duration::from_secs(1)), false),
        (StoreSync::Os, false),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = settings(sync);
        let (store, _) = open_all(dir.path(), &settings);
        let mut room = TestChannel::new(&store, "room");
        let run = room.publish(3, 10);
        write(&store, vec![room.save(vec![run])]).expect("it is written");
        // As if the server was killed: it is not closed.
        drop(store);

        let (_, loaded) = open_all(dir.path(), &settings);
        let state = &loaded.channels[0].state;
        assert_eq!(state.newest, 3);
        if goes_on {
            assert_eq!(*state, room.state, "{sync:?}");
            continue;
        }
        assert_ne!(state.epoch, room.state.epoch, "{sync:?}");
        let old = state.past[0];
        assert_eq!((old.epoch, old.end), (room.state.epoch, 3), "{sync:?}");
    }
}

#[test]
fn what_a_history_lets_go_goes_from_the_disk() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, _) = open_all(dir.path(), &interval());
    let mut room = TestChannel::new(&store, "room");
    for _ in 0..10 {
        let run = room.publish(2, 10);
        room.first = room.state.newest.saturating_sub(6);
        write(&store, vec![room.save(vec![run])]).expect("it is written");
    }
    store.close();
    drop(store);
    let (store, loaded) = open_all(dir.path(), &interval());
    let ends: Vec<_> = loaded.channels[0].runs.iter().map(|run| run.end).collect();
    assert_eq!(ends, [14, 16, 18, 20]);
    write(&store, vec![room.forget()]).expect("it is forgotten");
    store.close();
    drop(store);
    let (_, loaded) = open_all(dir.path(), &interval());
    assert!(loaded.channels.is_empty());
}

#[test]
fn a_run_that_was_written_before_is_replaced_by_how_it_is_cut_now() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, _) = open_all(dir.path(), &interval());
    let mut room = TestChannel::new(&store, "room");
    let runs = vec![room.publish(2, 10), room.publish(2, 10)];
    write(&store, vec![room.save(runs)]).expect("it is written");
    room.state.newest = 2;
    let run = room.publish(5, 10);
    write(&store, vec![room.save(vec![run])]).expect("it is written");
    store.close();
    drop(store);
    let (_, loaded) = open_all(dir.path(), &interval());
    let ends: Vec<_> = loaded.channels[0].runs.iter().map(|run| run.end).collect();
    assert_eq!(ends, [2, 7]);
}

#[test]
fn a_batch_with_a_gap_is_refused_and_harms_no_other() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, _) = open_all(dir.path(), &interval());
    let (mut good, mut bad) = (TestChannel::new(&store, "a"), TestChannel::new(&store, "b"));
    let run = bad.publish(2, 10);
    write(&store, vec![bad.save(vec![run])]).expect("it is written");
    bad.publish(1, 10);
    let behind = bad.publish(1, 10);
    let refused = write(&store, vec![bad.save(vec![behind])]).expect_err("there is a gap");
    assert!(refused.to_string().contains("gap"), "{refused}");
    assert!(store.status().failure().is_some(), "it is told");
    let run = good.publish(1, 10);
    write(&store, vec![good.save(vec![run])]).expect("it is written");
    store.close();
    drop(store);
    let (_, loaded) = open_all(dir.path(), &interval());
    assert_eq!(names(&loaded), ["b", "a"]);
    assert_eq!(loaded.channels[0].state.newest, 2);
}

#[test]
fn the_newest_channels_are_loaded_that_fit_and_are_wanted() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, _) = open_all(dir.path(), &interval());
    let mut changes = Vec::new();
    for (name, age) in [("old", 1), ("memory", 9), ("new", 7), ("newest", 8)] {
        let mut channel = TestChannel::new(&store, name);
        let mut run = channel.publish(1, 1000);
        run.at = SystemTime::UNIX_EPOCH + Duration::from_secs(age);
        changes.push(channel.save(vec![run]));
    }
    write(&store, changes).expect("it is written");
    store.close();
    drop(store);
    let kept = |name: &str| name != "memory";
    let (store, loaded) = open(dir.path(), &interval(), 2600, &kept).expect("it opens");
    assert_eq!(names(&loaded), ["newest", "new"]);
    assert_eq!((loaded.unwanted, loaded.too_many), (1, 1));
    store.close();
    drop(store);
    let (_, loaded) = open_all(dir.path(), &interval());
    assert_eq!(names(&loaded), ["newest", "new"], "the others are gone");
}

#[test]
fn only_one_process_has_a_store() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, _) = open_all(dir.path(), &interval());
    let refusal = refusal(dir.path(), &interval());
    assert!(matches!(refusal, OpenStoreError::InUse(_)), "{refusal}");
    store.close();
    drop(store);
    open_all(dir.path(), &interval());
}

#[test]
fn runs_with_a_publisher_count_for_it_unless_they_are_counted() {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = settings(StoreSync::Batch);
    let (store, _) = open_all(dir.path(), &settings);
    let mut room = TestChannel::new(&store, "room");
    let [known, fresh, gone] = [1, 2, 3].map(PublisherId);
    let mut by = |publisher, messages| StoredRun {
        publisher: Some(publisher),
        ..room.publish(messages, 10)
    };
    let runs = vec![by(known, 2), by(gone, 1), by(fresh, 3), by(known, 4)];
    let counted = StoredPublisher {
        published: Published {
            count: 2,
            first: 1,
            first_end: 2,
            since: 0,
        },
        at: Some(SystemTime::UNIX_EPOCH),
        counted: 2,
    };
    let Change::Save(mut saved) = room.save(runs) else {
        unreachable!()
    };
    saved.publishers.push((known, Some(counted)));
    write(&store, vec![Change::Save(saved)]).expect("it is written");
    let Change::Save(mut saved) = room.save(Vec::new()) else {
        unreachable!()
    };
    saved.publishers.push((gone, None));
    write(&store, vec![Change::Save(saved)]).expect("it is written");
    store.close();
    drop(store);
    let (store, mut loaded) = open_all(dir.path(), &settings);
    let publishers = &mut loaded.channels[0].publishers;
    publishers.sort_by_key(|(id, _)| id.0);
    let counts: Vec<_> = publishers
        .iter()
        .map(|(id, known)| (*id, known.published.count, known.published.first))
        .collect();
    assert_eq!(counts, [(known, 6, 1), (fresh, 3, 4)]);
    // What was kept of the forgotten one goes with the last run that may name it.
    room.first = 11;
    let run = room.publish(1, 10);
    write(&store, vec![room.save(vec![run])]).expect("it is written");
    store.close();
}
