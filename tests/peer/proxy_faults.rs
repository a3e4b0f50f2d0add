//! The proxy of the fault tests does what it says: a fault that did not happen would prove nothing.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, SILENCE, is_timeout, wait_until};
use crate::linked_servers::proxy::{Cut, Mode, Proxy};

/// Sends back what it gets, and tells how much of each connection came. Ends with its listener's
/// last connection.
struct Echo {
    address: SocketAddr,
    came: Receiver<usize>,
    thread: JoinHandle<()>,
}

impl Echo {
    /// For that many connections, one after the other.
    fn start(connections: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (told, came) = channel();
        let thread = std::thread::spawn(move || {
            for _ in 0..connections {
                let (stream, _) = listener.accept().unwrap();
                told.send(echo(stream)).unwrap();
            }
        });
        Self {
            address,
            came,
            thread,
        }
    }

    /// Returns the number of bytes that came on the next connection.
    fn came(&self) -> usize {
        self.came.recv_timeout(PATIENCE).unwrap()
    }
}

fn echo(mut stream: TcpStream) -> usize {
    let (mut came, mut buf) = (0, [0; 4096]);
    while let Ok(n @ 1..) = stream.read(&mut buf) {
        came += n;
        if stream.write_all(&buf[..n]).is_err() {
            break;
        }
    }
    came
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn expect(stream: &mut TcpStream, expected: &[u8]) {
    let mut got = vec![0; expected.len()];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(got, expected);
}

fn round_trip(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
    expect(stream, bytes);
}

fn expect_nothing(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    let error = stream.read(&mut [0]).unwrap_err();
    assert!(is_timeout(&error), "{error}");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
}

fn expect_reset(stream: &mut TcpStream) {
    let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn everything_passes_and_so_does_the_end() {
    let echo = Echo::start(1);
    let proxy = Proxy::to(echo.address);
    let mut stream = connect(&proxy);
    round_trip(&mut stream, &vec![7; 100_000]);
    stream.write_all(b"last").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!((rest, echo.came()), (b"last".to_vec(), 100_004));
    assert_eq!(proxy.accepted(), 1);
    echo.thread.join().unwrap();
}

#[test]
fn each_way_has_its_delay() {
    let echo = Echo::start(1);
    let proxy = Proxy::to(echo.address);
    let mut stream = connect(&proxy);
    let (short, long) = (Duration::ZERO, Duration::from_millis(60));
    for (up, down) in [(short, long), (long, short), (long, long)] {
        proxy.set(Mode::Delay { up, down });
        // What was being read when the mode changed is passed in the old one.
        std::thread::sleep(SILENCE);
        let begun = Instant::now();
        round_trip(&mut stream, b"x");
        assert!(begun.elapsed() >= up + down);
    }
}

#[test]
fn what_is_throttled_takes_its_time() {
    let echo = Echo::start(1);
    let proxy = Proxy::to(echo.address);
    let mut stream = connect(&proxy);
    proxy.set(Mode::Throttle(10));
    std::thread::sleep(SILENCE);
    let begun = Instant::now();
    round_trip(&mut stream, &[7; 200]);
    // Twenty ticks of 5 ms.
    assert!(begun.elapsed() >= Duration::from_millis(100));
}

#[test]
fn what_is_stalled_comes_later() {
    let echo = Echo::start(1);
    let proxy = Proxy::to(echo.address);
    let mut stream = connect(&proxy);
    round_trip(&mut stream, b"before");
    proxy.set(Mode::Stall);
    std::thread::sleep(SILENCE);
    stream.write_all(b"meanwhile").unwrap();
    expect_nothing(&mut stream);
    proxy.set(Mode::Pass);
    expect(&mut stream, b"meanwhile");
}

#[test]
fn what_is_swallowed_is_lost_with_its_connection() {
    let echo = Echo::start(2);
    let proxy = Proxy::to(echo.address);
    let mut half_open = connect(&proxy);
    round_trip(&mut half_open, b"before");
    proxy.set(Mode::Swallow);
    std::thread::sleep(SILENCE);
    half_open.write_all(b"lost").unwrap();
    half_open.shutdown(Shutdown::Write).unwrap();
    expect_nothing(&mut half_open);
    proxy.set(Mode::Pass);
    // Whether as a reset or as an end, it is told now.
    let _ = half_open.read(&mut [0]);
    assert_eq!(echo.came(), "before".len());
    round_trip(&mut connect(&proxy), b"after");
}

#[test]
fn connections_end_as_they_are_cut() {
    let echo = Echo::start(2);
    let proxy = Proxy::to(echo.address);
    for cut in [Cut::Close, Cut::Reset] {
        let mut stream = connect(&proxy);
        round_trip(&mut stream, b"x");
        proxy.cut(cut);
        match cut {
            Cut::Close => assert_eq!(stream.read(&mut [0]).unwrap(), 0),
            Cut::Reset => expect_reset(&mut stream),
        }
        assert_eq!(echo.came(), 1);
    }
}

#[test]
fn a_cut_comes_after_as_many_bytes_as_it_is_told() {
    for bytes in [0, 1, 4999, 20_000] {
        // Nothing comes back, so all that is counted goes one way.
        let sink = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::to(sink.local_addr().unwrap());
        let mut stream = connect(&proxy);
        let (mut server, _) = sink.accept().unwrap();
        proxy.cut_after(bytes);
        // The end may come before all is written.
        let _ = stream.write_all(&vec![7; 50_000]);
        let mut came = Vec::new();
        let _ = server.read_to_end(&mut came);
        assert_eq!(came.len(), bytes);
    }
}

#[test]
fn new_connections_are_refused_and_old_ones_are_not() {
    let echo = Echo::start(1);
    let proxy = Proxy::to(echo.address);
    let mut old = connect(&proxy);
    round_trip(&mut old, b"before");
    proxy.set(Mode::Refuse);
    assert_eq!(connect(&proxy).read(&mut [0]).unwrap(), 0);
    round_trip(&mut old, b"after");
}

#[test]
fn new_connections_go_where_they_are_sent() {
    let (one, two) = (Echo::start(1), Echo::start(1));
    let proxy = Proxy::to(one.address);
    let mut old = connect(&proxy);
    round_trip(&mut old, b"one");
    proxy.redirect(two.address);
    let mut new = connect(&proxy);
    round_trip(&mut new, b"new");
    drop((old, new));
    assert_eq!((one.came(), two.came()), (3, 3));
}

#[test]
fn nothing_is_left_of_it() {
    let echo = Echo::start(2);
    for mode in [Mode::Stall, Mode::Swallow] {
        let proxy = Proxy::to(echo.address);
        let mut stream = connect(&proxy);
        round_trip(&mut stream, b"x");
        proxy.set(mode);
        let address = proxy.address;
        drop(proxy);
        assert_eq!(echo.came(), 1);
        expect_reset(&mut stream);
        wait_until("nobody listens", || TcpStream::connect(address).is_err());
    }
}
