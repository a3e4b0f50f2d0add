//! A crowd moves from a server that stops to another one: spread over a period, and nobody loses a message.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mles::client::{Client, Event, Reconnect, Session};
use mles::{Broker, LinkState, Settings};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

use crate::common::{LONG, PATIENCE, Server as _, settings, start};

/// Sessions that move. Each has four ends of connections in this process, and four more when it has moved.
const MOST: usize = 1500;
const CHANNELS: usize = 5;
/// Time over which they are let go.
const PERIOD: Duration = Duration::from_secs(3);
/// Time over which the rate of joins is looked at.
const WINDOW: Duration = Duration::from_secs(1);
/// Time between two messages in a channel.
const INTERVAL: Duration = Duration::from_millis(200);

/// What stands in front of two servers: it connects to the first for as long as that listens, then to the second.
struct Balancer {
    address: SocketAddr,
    /// When connections to the second server were made.
    moved: Rc<RefCell<Vec<Instant>>>,
}

impl Balancer {
    async fn start(servers: [SocketAddr; 2]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let balancer = Self {
            address: listener.local_addr().unwrap(),
            moved: Rc::default(),
        };
        let moved = balancer.moved.clone();
        spawn_local(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                spawn_local(pass(client, servers, moved.clone()));
            }
        });
        balancer
    }
}

async fn pass(mut client: TcpStream, servers: [SocketAddr; 2], moved: Rc<RefCell<Vec<Instant>>>) {
    let mut server = match TcpStream::connect(servers[0]).await {
        Ok(server) => server,
        Err(_) => {
            moved.borrow_mut().push(Instant::now());
            TcpStream::connect(servers[1]).await.unwrap()
        }
    };
    // However it ends, both ends do.
    let _ = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, 1024, 4096).await;
}

/// Measures how late timers are here: what is due in that time may come at once.
fn measure_lag() -> (Rc<RefCell<Duration>>, JoinHandle<()>) {
    const TICK: Duration = Duration::from_millis(10);
    let lag = Rc::new(RefCell::new(Duration::ZERO));
    let measured = lag.clone();
    let measuring = spawn_local(async move {
        loop {
            let begun = Instant::now();
            sleep(TICK).await;
            let late = begun.elapsed().saturating_sub(TICK);
            let most = late.max(*measured.borrow());
            *measured.borrow_mut() = most;
        }
    });
    (lag, measuring)
}

fn server(upstream: Option<SocketAddr>) -> Broker {
    let mut settings = Settings {
        drain_period: Some(PERIOD),
        drain_deadline: LONG,
        allow_anonymous: true,
        ..settings()
    };
    settings.channels.default.announce_joins = false;
    settings.channels.default.history_frames = 100_000;
    settings.peer.upstreams = upstream
        .iter()
        .map(|address| address.to_string().parse().unwrap())
        .collect();
    start(settings)
}

/// Reads until a message says that it is the last, and returns how often each has come.
async fn listen(mut session: Session) -> (BTreeMap<String, usize>, usize) {
    let (mut got, mut breaks) = (BTreeMap::new(), 0);
    loop {
        let event = session.next_event().await.unwrap();
        match event.expect("it reconnects for ever") {
            Event::Message(message) if message.text() == "last" => return (got, breaks),
            Event::Message(message) => *got.entry(message.text().into_owned()).or_default() += 1,
            Event::Disconnected { .. } => breaks += 1,
            _ => {}
        }
    }
}

/// Publishes at the second server until it is told to stop, and returns the number of its messages.
async fn publish(at: SocketAddr, channel: String, is_over: Rc<RefCell<bool>>) -> usize {
    let mut publisher = Client::new(at.to_string(), "publisher")
        .join(&channel)
        .await
        .unwrap();
    let mut count = 0;
    while !*is_over.borrow() {
        publisher.publish(format!("message {count}")).await.unwrap();
        count += 1;
        sleep(INTERVAL).await;
    }
    publisher.publish("last").await.unwrap();
    publisher.finish().await.unwrap();
    count
}

fn channel(index: usize) -> String {
    format!("channel {}", index % CHANNELS)
}

/// Returns the most connections within any window.
fn busiest(times: &[Instant], window: Duration) -> usize {
    let within = |from: usize| {
        times[from..]
            .iter()
            .take_while(move |time| **time - times[from] < window)
    };
    (0..times.len())
        .map(|from| within(from).count())
        .max()
        .unwrap_or(0)
}

async fn move_over(sessions: usize) {
    let second = server(None);
    let first = server(Some(second.address()));
    let balancer = Balancer::start([first.address(), second.address()]).await;
    let is_over = Rc::new(RefCell::new(false));
    let publishers: Vec<_> = (0..CHANNELS)
        .map(|index| spawn_local(publish(second.address(), channel(index), is_over.clone())))
        .collect();
    let mut members = Vec::new();
    for index in 0..sessions {
        let client = Client::new(balancer.address.to_string(), format!("member {index}"))
            .reconnect(Reconnect::default().remember(100_000));
        let session = client.join(&channel(index)).await.unwrap();
        members.push(spawn_local(listen(session)));
    }
    let is_up = || {
        let links = first.links();
        links.len() == CHANNELS && links.iter().all(|link| link.state == LinkState::Up)
    };
    while !(is_up() && first.stats().joined == sessions as u64) {
        sleep(Duration::from_millis(10)).await;
    }

    let (lag, measuring) = measure_lag();
    let stopping = tokio::task::spawn_blocking(|| first.stop());
    while second.stats().joined < (sessions + 2 * CHANNELS) as u64 {
        sleep(Duration::from_millis(10)).await;
    }
    measuring.abort();
    stopping.await.unwrap().unwrap();
    *is_over.borrow_mut() = true;
    let mut sent = Vec::new();
    for publisher in publishers {
        sent.push(publisher.await.unwrap());
    }
    for (index, member) in members.into_iter().enumerate() {
        let (got, breaks) = member.await.unwrap();
        let expected = (0..sent[index % CHANNELS]).map(|n| (format!("message {n}"), 1));
        assert_eq!(got, expected.collect(), "member {index}, {breaks} breaks");
        assert!(breaks > 0, "member {index} has not moved");
    }

    let moved = balancer.moved.borrow();
    let window = WINDOW + 2 * *lag.borrow();
    let even = sessions as f64 * window.as_secs_f64() / PERIOD.as_secs_f64();
    // Times are random: four standard deviations.
    let most = even + 4.0 * even.sqrt();
    let found = busiest(&moved, WINDOW);
    println!(
        "{} joins, at most {found} in {WINDOW:?}; {most:.0} were allowed, with timers {:?} late",
        moved.len(),
        lag.borrow()
    );
    assert!(
        (found as f64) <= most,
        "{found} joins in {WINDOW:?}, more than {most}"
    );
}

#[tokio::test]
async fn a_crowd_moves_to_another_server_evenly_and_loses_nothing() {
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let sessions = MOST.min(usize::try_from(files / 10).unwrap());
    let all = LocalSet::new();
    all.run_until(timeout(2 * PATIENCE, move_over(sessions)))
        .await
        .unwrap();
}
