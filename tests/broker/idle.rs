//! Channels that nobody is in are freed: at once, or with their history after a while.

use std::time::Duration;

use mles::channel::ChannelSettings;
use mles::{Broker, Settings};

use crate::common::{Client, settings, start, wait_until};

fn with_ttl(idle_ttl: Duration, spread_threshold: usize) -> Broker {
    let mut settings = Settings {
        spread_threshold,
        ..settings()
    };
    settings.channels.default.idle_ttl = idle_ttl;
    start(settings)
}

/// Publishes one message in each of `n` channels and leaves them.
fn leave_behind(broker: &Broker, n: u64) {
    let left = broker.stats().left + n;
    for i in 0..n {
        let before = broker.stats().frames_in;
        let mut client = Client::join_and_wait(broker, "alice", &format!("channel {i}"));
        client.send(b"remember me");
        wait_until("it is in", || broker.stats().frames_in > before);
        client.reset();
    }
    wait_until("all have left", || broker.stats().left == left);
}

#[test]
fn without_history_at_once() {
    for spread_threshold in [100, 0] {
        let broker = with_ttl(Duration::from_secs(3600), spread_threshold);
        let clients: Vec<_> = (0..50)
            .map(|i| Client::join_and_wait(&broker, "alice", &format!("channel {i}")))
            .collect();
        assert_eq!(broker.stats().channels, 50);
        clients.into_iter().for_each(Client::reset);
        wait_until("they are freed", || broker.stats().channels == 0);
    }
}

#[test]
fn with_history_after_idle_ttl() {
    for spread_threshold in [100, 0] {
        let broker = with_ttl(Duration::from_millis(100), spread_threshold);
        leave_behind(&broker, 50);
        wait_until("they are freed", || broker.stats().channels == 0);
        let mut bob = Client::join_and_wait(&broker, "bob", "channel 0");
        bob.assert_silent();
    }
}

#[test]
fn until_then_the_history_stays() {
    for spread_threshold in [100, 0] {
        let broker = with_ttl(Duration::from_secs(3600), spread_threshold);
        leave_behind(&broker, 50);
        assert_eq!(broker.stats().channels, 50);
        for i in 0..50 {
            let mut bob = Client::join_and_wait(&broker, "bob", &format!("channel {i}"));
            assert_eq!(bob.text(), "remember me");
        }
    }
}

/// What is too old to be replayed keeps no channel alive.
#[test]
fn when_all_of_the_history_is_too_old() {
    let mut settings = settings();
    let channel = &mut settings.channels.default;
    channel.idle_ttl = Duration::from_secs(3600);
    channel.history_age = Some(Duration::from_millis(50));
    let broker = start(settings);
    leave_behind(&broker, 5);
    wait_until("they are freed", || broker.stats().channels == 0);
}

#[test]
fn a_member_keeps_its_channel() {
    let broker = with_ttl(Duration::from_millis(50), 100);
    let mut alice = Client::join_and_wait(&broker, "alice", "room");
    alice.send(b"remember me");
    wait_until("it is in", || broker.stats().frames_in == 1);
    // Time for more than one sweep, as the others show.
    leave_behind(&broker, 1);
    wait_until("the other is freed", || broker.stats().channels == 1);
    let mut bob = Client::join_and_wait(&broker, "bob", "room");
    assert_eq!(bob.text(), "remember me");
}

/// Channels come and go while others are used: none is mixed up with another.
#[test]
fn reused_places_are_not_mixed_up() {
    for spread_threshold in [100, 0] {
        let broker = with_ttl(Duration::ZERO, spread_threshold);
        let mut kept: Vec<(Client, Client)> = Vec::new();
        for i in 0..60 {
            let channel = format!("channel {i}");
            let alice = Client::join_and_wait(&broker, "alice", &channel);
            let bob = Client::join_and_wait(&broker, "bob", &channel);
            if i % 3 == 0 {
                kept.push((alice, bob));
            } else {
                let left = broker.stats().left;
                alice.reset();
                bob.reset();
                wait_until("they have left", || broker.stats().left == left + 2);
            }
            for (alice, bob) in &mut kept {
                alice.send(alice.channel.clone().as_bytes());
                assert_eq!(bob.text(), bob.channel);
            }
        }
        wait_until("the rest is freed", || {
            broker.stats().channels == kept.len() as u64
        });
        assert_eq!(broker.stats().orphaned_frames, 0);
    }
}

/// A channel that is freed because its history is too old gives back all of the memory for histories that it had.
#[test]
fn freed_channels_give_their_memory_back() {
    const AGE: Duration = Duration::from_millis(20);
    let mut settings = Settings {
        shards: Some(1),
        ..settings()
    };
    settings.limits.history_bytes_total = 1 << 20;
    let aging = ChannelSettings {
        history_age: Some(AGE),
        ..settings.channels.default.clone()
    };
    settings.channels.patterns = vec![("aging *".into(), aging)];
    let broker = start(settings);
    let large = vec![b'.'; 200_000];
    for i in 1..=10 {
        let mut alice = Client::join_and_wait(&broker, "alice", &format!("aging {i}"));
        alice.send(&large);
        wait_until("it is in", || broker.stats().frames_in == i);
        std::thread::sleep(2 * AGE);
        alice.reset();
        wait_until("the channel is freed", || broker.stats().channels == 0);
    }
    let mut alice = Client::join_and_wait(&broker, "alice", "room");
    alice.send(&large);
    wait_until("it is in", || broker.stats().frames_in == 11);
    let mut bob = Client::join_and_wait(&broker, "bob", "room");
    assert_eq!(bob.receive_message().message, large);
}
