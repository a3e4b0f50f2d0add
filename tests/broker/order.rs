//! One order for all: every member of a channel sees the same sequence, each frame once and whole,
//! while members come and go around the threshold of spreading and some are killed.

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use mles::protocol::{Cid, Keyring};
use mles::{Broker, Settings};

use crate::common::{Client, LONG, Rng, settings, start, wait_until};

const CHANNEL: &str = "hot";
const THRESHOLD: usize = 30;
/// Members that come and go in one cycle: enough to cross the threshold even if those that the
/// owner has accepted itself, which never spread, come last.
const CROWD: usize = 64;
const CYCLES: usize = 8;
const PUBLISHERS: usize = 3;
const SUBSCRIBERS: usize = 3;

/// The messages that a member has seen that was not killed.
struct Survivor {
    uid: String,
    seen: JoinHandle<Vec<String>>,
}

/// Reads to the message `end`, and notes the label of each before it.
fn survive(mut client: Client) -> Survivor {
    let uid = client.uid.clone();
    let seen = std::thread::spawn(move || {
        let mut labels = Vec::new();
        loop {
            let label = checked_label(&client.receive_message().message);
            if label == "end" {
                return labels;
            }
            labels.push(label);
        }
    });
    Survivor { uid, seen }
}

/// Reads until the session ends, so that nothing piles up however long the test takes. Returns the
/// labels of what has come so far.
fn follow(mut client: Client) -> Arc<Mutex<HashSet<String>>> {
    let labels = Arc::<Mutex<HashSet<String>>>::default();
    let come = labels.clone();
    std::thread::spawn(move || {
        while let Ok(Some(received)) = client.try_receive(LONG) {
            if !received.message.is_empty() {
                come.lock()
                    .unwrap()
                    .insert(checked_label(&received.message));
            }
        }
    });
    labels
}

/// A payload that shows whether it is whole: a label, and filler of a length that follows from it.
fn payload(label: &str, filler: usize) -> Vec<u8> {
    let mut payload = format!("{label} {filler} ").into_bytes();
    payload.resize(payload.len() + filler, b'.');
    payload
}

fn checked_label(message: &[u8]) -> String {
    let text = std::str::from_utf8(message).unwrap();
    let mut parts = text.splitn(3, ' ');
    let (label, len) = (parts.next().unwrap(), parts.next().unwrap());
    assert_eq!(
        parts.next().unwrap().len(),
        len.parse::<usize>().unwrap(),
        "{label}"
    );
    label.to_owned()
}

fn join(broker: &Broker, rng: &mut Rng, uid: &str) -> Client {
    let cid = Cid(u32::try_from(rng.below(1 << 31)).unwrap());
    Client::join_with(broker, &Keyring::default(), uid, CHANNEL, b"", Some(cid))
}

/// Publishes in bursts until told to stop; bursts end inside frames as often as not.
fn publish_until(client: &Client, stop: Arc<AtomicBool>, mut rng: Rng) -> JoinHandle<usize> {
    let mut stream = client.stream.try_clone().unwrap();
    let writer = Client::on(
        client.stream.try_clone().unwrap(),
        &Keyring::default(),
        &client.uid,
        CHANNEL,
        Some(client.cid),
    );
    std::thread::spawn(move || {
        let (mut sent, mut pending) = (0, Vec::new());
        while !stop.load(Ordering::Relaxed) {
            for _ in 0..rng.below(20) {
                let filler = if rng.below(50) == 0 { 50_000 } else { 200 };
                let label = format!("{}/{sent}", writer.uid);
                pending.extend(writer.frame(&payload(&label, rng.below(filler))));
                sent += 1;
            }
            let now = rng.below(pending.len() + 1);
            stream.write_all(&pending[..now]).unwrap();
            pending.drain(..now);
            // Paces the test; nothing depends on it.
            std::thread::sleep(Duration::from_millis(2));
        }
        stream.write_all(&pending).unwrap();
        sent
    })
}

/// Lets a crowd in, in which some publish, and kills it; one of it survives.
fn crowd_comes_and_goes(broker: &Broker, rng: &mut Rng, cycle: usize) -> Survivor {
    let before = broker.stats();
    let mut crowd = Vec::new();
    for i in 0..CROWD {
        let mut client = join(broker, rng, &format!("crowd-{cycle}-{i}"));
        for n in 0..rng.below(3) {
            client.send(&payload(&format!("{}/{n}", client.uid), rng.below(2000)));
        }
        crowd.push(client);
    }
    let joined = before.joined + CROWD as u64;
    wait_until("the crowd has joined", || broker.stats().joined == joined);
    let survivor = crowd.swap_remove(rng.below(CROWD));
    while !crowd.is_empty() {
        kill(crowd.swap_remove(rng.below(crowd.len())), rng);
    }
    wait_until("the killed are gone", || {
        broker.stats().connections <= before.connections + 1
    });
    let after = broker.stats();
    assert!(
        after.spread > before.spread,
        "never spread: {before} then {after}"
    );
    assert!(after.handed_over > before.handed_over, "never handed over");
    survive(survivor)
}

/// By a reset or by a plain close, in the middle of a frame or not.
fn kill(mut client: Client, rng: &mut Rng) {
    if rng.below(2) == 0 {
        let frame = client.frame(&payload("torn", 1000));
        let part = &frame[..rng.below(frame.len())];
        client.stream.write_all(part).unwrap();
    }
    if rng.below(2) == 0 {
        client.reset();
    }
}

/// The order as one member saw it, without what `uid` has published.
fn without(order: &[String], uid: &str) -> Vec<String> {
    let own = format!("{uid}/");
    let others = order.iter().filter(|label| !label.starts_with(&own));
    others.cloned().collect()
}

/// Each label once, and those of each publisher in the order of their numbers, none left out.
fn assert_publishers_order(order: &[String]) -> HashMap<String, usize> {
    let mut next: HashMap<String, usize> = HashMap::new();
    for label in order {
        let (uid, n) = label.split_once('/').unwrap();
        let expected = next.entry(uid.to_owned()).or_default();
        assert_eq!(n.parse::<usize>().unwrap(), *expected, "{label}");
        *expected += 1;
    }
    next
}

#[test]
fn all_members_see_one_order_while_a_crowd_comes_and_goes() {
    let mut rng = Rng::seeded();
    let broker = start(Settings {
        shards: Some(4),
        spread_threshold: THRESHOLD,
        ..settings()
    });
    let witness = survive(Client::join_and_wait(&broker, "witness", CHANNEL));
    let last = Client::join_and_wait(&broker, "last", CHANNEL);
    let (mut stream, end) = (
        last.stream.try_clone().unwrap(),
        last.frame(&payload("end", 0)),
    );
    let come = follow(last);
    let mut survivors = Vec::new();
    for i in 0..SUBSCRIBERS {
        survivors.push(survive(join(&broker, &mut rng, &format!("subscriber-{i}"))));
    }
    let stop = Arc::<AtomicBool>::default();
    let mut publishers = Vec::new();
    for i in 0..PUBLISHERS {
        let client = join(&broker, &mut rng, &format!("publisher-{i}"));
        let own_rng = Rng(rng.below(usize::MAX) as u64);
        let sent = publish_until(&client, stop.clone(), own_rng);
        publishers.push((client.uid.clone(), sent));
        survivors.push(survive(client));
    }
    let members = (2 + SUBSCRIBERS + PUBLISHERS) as u64;
    wait_until("all have joined", || broker.stats().joined == members);
    for cycle in 0..CYCLES {
        survivors.push(crowd_comes_and_goes(&broker, &mut rng, cycle));
    }
    stop.store(true, Ordering::Relaxed);
    let sent: Vec<_> = publishers
        .into_iter()
        .map(|(uid, sent)| (uid, sent.join().unwrap()))
        .collect();
    for (uid, sent) in &sent {
        let label = format!("{uid}/{}", sent - 1);
        wait_until("the last of each has come", || {
            come.lock().unwrap().contains(&label)
        });
    }
    stream.write_all(&end).unwrap();

    let order = witness.seen.join().unwrap();
    let seen_of = assert_publishers_order(&order);
    for (uid, sent) in sent {
        assert_eq!(seen_of[&uid], sent, "all of {uid}");
    }
    for survivor in survivors {
        let seen = survivor.seen.join().expect(&survivor.uid);
        let expected = without(&order, &survivor.uid);
        // A late member's sequence begins with the history at its join.
        assert!(
            expected.ends_with(&seen),
            "{} saw another order",
            survivor.uid
        );
        let distinct: HashSet<_> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len());
    }
    assert_eq!(broker.stats().slow_disconnects, 0);
    broker.stop().unwrap();
}
