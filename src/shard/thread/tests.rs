//! A shard on its own thread, with the test in the place of the other shard.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::access::Rights;
use crate::channel::{FrameRun, SessionId};
use crate::protocol::{Cid, Key, Message, encode_frame};
use crate::shard::ids::ChannelId;
use crate::shard::labels::Transport;
use crate::shard::message::{Adoption, Detached, Early, Identity, Socket};
use crate::shard::watchdog::Watchdog;

const PATIENCE: Duration = Duration::from_secs(60);
const CHANNEL: ChannelId = ChannelId {
    owner: ShardId(0),
    index: 0,
    serial: 0,
};

fn frame(uid: &str) -> Bytes {
    let message = Message {
        uid,
        channel: "room",
        message: b"hello",
    };
    encode_frame(Cid(1), Key(1), &message).unwrap()
}

/// A connection: the client's side, and the broker's on its way between shards.
fn connection() -> (TcpStream, Detached) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    accepted.set_nonblocking(true).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let moved = runtime.block_on(async {
        let stream = tokio::net::TcpStream::from_std(accepted).unwrap();
        Socket::Here(stream).detach().unwrap()
    });
    (client, moved.unwrap())
}

/// A member whose first frame has come together with its join.
fn adoption(socket: Detached, client: &TcpStream) -> Delivery {
    let early = Early {
        run: Some(FrameRun::exact(frame("alice"), 1)),
        ..Early::default()
    };
    Delivery::Adopt(Box::new(Adoption {
        socket: Some(socket),
        identity: Identity {
            session: SessionId(7),
            cid: Cid(1),
            peer: client.local_addr().unwrap(),
            uid: "alice".into(),
            rights: Rights::CLIENT,
            permit: None,
            transport: Transport::Tcp,
        },
        id: CHANNEL,
        channel: "room".into(),
        replay: Vec::new(),
        resumed: None,
        skip: 0,
        has_publisher: false,
        is_paused: false,
        early,
    }))
}

/// The next of the requests that `is_wanted` wants; the others are lost.
fn wait_for(inbox: &Inbox, is_wanted: impl Fn(&Request) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !inbox
        .requests
        .take()
        .is_some_and(|request| is_wanted(&request))
    {
        assert!(Instant::now() < deadline, "the other shard has not sent it");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The owner had let it in before the stop, which the shard of the member has noticed first.
#[test]
fn a_member_adopted_while_the_broker_stops_gets_what_comes_behind_it() {
    let settings = Settings {
        pin: false,
        drain_deadline: Duration::from_secs(3600),
        ..Settings::default()
    };
    let (common, seeds) = seeds(settings, None, 2, None, None);
    let [owner, relay]: [Seed; 2] = seeds.try_into().ok().unwrap();
    common.advance(BrokerPhase::Draining);
    let running = thread::spawn(move || relay.run(|_| Ok(())));
    wait_for(&owner.inbox, |request| {
        matches!(request, Request::Through { .. })
    });

    let (mut client, socket) = connection();
    let to_relay = &owner.deliveries[1];
    to_relay.send(adoption(socket, &client));
    // What it has published shows that it has been adopted.
    wait_for(&owner.inbox, |request| {
        matches!(request, Request::Publish { .. })
    });
    to_relay.send(Delivery::Run {
        channel: CHANNEL,
        except: SessionId::NONE,
        run: FrameRun::exact(frame("bob"), 1),
        messages: 0,
    });
    to_relay.send(Delivery::Through);
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, frame("bob"));

    common.advance(BrokerPhase::Stopped);
    running.join().unwrap().unwrap();
}

#[test]
fn a_shard_that_is_kept_busy_is_found_and_forgiven() {
    let settings = Settings {
        pin: false,
        ..Settings::default()
    };
    let (common, seeds) = seeds(settings, None, 1, None, None);
    let [shard]: [Seed; 1] = seeds.try_into().ok().unwrap();
    let watchdog = Watchdog::start(common.clone()).unwrap();
    let wait_until = |common: &Common, is_healthy: bool| {
        let deadline = Instant::now() + PATIENCE;
        while common.is_healthy() != is_healthy && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    };
    let busy = common.clone();
    let running = thread::spawn(move || {
        shard.run(|shard| {
            shard.spawn(async move { wait_until(&busy, false) });
            Ok(())
        })
    });
    wait_until(&common, false);
    assert!(common.stats[0].turn.stalls() > 0, "it was not found");
    wait_until(&common, true);
    assert!(common.is_healthy(), "it runs again");
    common.advance(BrokerPhase::Stopped);
    running.join().unwrap().unwrap();
    drop(watchdog);
}
