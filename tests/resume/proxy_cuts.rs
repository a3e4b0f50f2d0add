//! The proxy does what its plans say: a fault that did not happen would prove nothing.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio::time::timeout;

use crate::common::{LONG, PATIENCE, SILENCE};
use crate::proxy::{At, Byte, End, Ghost, Late, Plan, Proxy, Way};

const GONE: Ghost = Ghost {
    most: Duration::ZERO,
    late: Late::Nothing,
};

/// A server behind a proxy, which accepts one connection after the other.
struct Path {
    server: TcpListener,
    proxy: Proxy,
}

impl Path {
    /// A path whose connections have these plans, and those after them none.
    async fn with(plans: impl IntoIterator<Item = Plan>) -> Self {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let plans = RefCell::new(plans.into_iter().collect::<VecDeque<_>>());
        let plan = move || plans.borrow_mut().pop_front().unwrap_or(Plan::CALM);
        let target = server.local_addr().unwrap();
        let proxy = Proxy::to(move || target, plan);
        Self { server, proxy }
    }

    /// Both ends of a new connection: the client's, and the server's.
    async fn connect(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(self.proxy.address).await.unwrap();
        let (server, _) = self.server.accept().await.unwrap();
        (client, server)
    }
}

/// A plan that cuts behind so many bytes.
fn cut(way: Way, after: u64, what: End) -> Plan {
    let at = Byte { way, after };
    Plan {
        chunk: 7,
        end: Some(At { at, what }),
        ..Plan::CALM
    }
}

fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let in_time = async { timeout(PATIENCE, test).await.expect("it hangs") };
    runtime.block_on(LocalSet::new().run_until(in_time));
}

/// Writes all that is taken.
async fn send(stream: &mut TcpStream, bytes: &[u8]) {
    // The end may come before all is written.
    let _ = stream.write_all(bytes).await;
}

/// Returns what comes until the stream ends, and whether it ends in order.
async fn read_to_end(stream: &mut TcpStream) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes).await;
    (bytes, end.is_ok())
}

async fn expect(stream: &mut TcpStream, expected: &[u8]) {
    let mut got = vec![0; expected.len()];
    stream.read_exact(&mut got).await.unwrap();
    assert_eq!(got, expected);
}

async fn expect_nothing(stream: &mut TcpStream) {
    let read = timeout(SILENCE, stream.read_u8()).await;
    assert!(read.is_err(), "{read:?}");
}

#[test]
fn without_a_plan_everything_passes() {
    run(async {
        let path = Path::with([]).await;
        let (mut client, mut server) = path.connect().await;
        for stream in [&mut client, &mut server] {
            send(stream, &[7; 10_000]).await;
            stream.shutdown().await.unwrap();
        }
        for stream in [&mut client, &mut server] {
            assert_eq!(read_to_end(stream).await, (vec![7; 10_000], true));
        }
    });
}

#[test]
fn a_cut_comes_at_its_byte_whichever_way() {
    run(async {
        for after in [0, 1, 4999] {
            for end in [
                End::Close,
                End::Reset,
                End::HalfClose,
                End::ResetClient(GONE),
            ] {
                for way in [Way::Up, Way::Down] {
                    let path = Path::with([cut(way, after, end)]).await;
                    let (mut client, mut server) = path.connect().await;
                    let (from, to) = match way {
                        Way::Up => (&mut client, &mut server),
                        Way::Down => (&mut server, &mut client),
                    };
                    send(from, &[7; 6000]).await;
                    let (came, in_order) = read_to_end(to).await;
                    // What a reset overtakes is lost with it.
                    let is_exact = in_order || way == Way::Up && end != End::Reset;
                    let after = usize::try_from(after).unwrap();
                    assert!(came.len() <= after, "{end:?}, {way:?}: {}", came.len());
                    assert!(
                        came.len() == after || !is_exact || !in_order,
                        "{end:?}, {way:?}"
                    );
                    assert_eq!(
                        in_order,
                        matches!(end, End::Close | End::HalfClose),
                        "{end:?}"
                    );
                }
            }
        }
    });
}

#[test]
fn a_half_closed_way_leaves_the_other() {
    run(async {
        let path = Path::with([cut(Way::Up, 3, End::HalfClose)]).await;
        let (mut client, mut server) = path.connect().await;
        send(&mut client, b"abcdef").await;
        assert_eq!(read_to_end(&mut server).await, (b"abc".to_vec(), true));
        send(&mut server, b"answer").await;
        expect(&mut client, b"answer").await;
    });
}

#[test]
fn who_is_cut_off_in_silence_hears_nothing() {
    run(async {
        let path = Path::with([cut(Way::Down, 3, End::Silence(GONE))]).await;
        let (mut client, mut server) = path.connect().await;
        send(&mut server, b"abcdef").await;
        expect(&mut client, b"abc").await;
        send(&mut client, b"are you there?").await;
        expect_nothing(&mut client).await;
        expect_nothing(&mut server).await;
        drop(client);
        assert_eq!(read_to_end(&mut server).await, (Vec::new(), false));
    });
}

/// What was on its way when the client was cut off comes when the client is back.
#[test]
fn a_ghost_is_late() {
    run(async {
        for silence in [false, true] {
            let ghost = Ghost {
                most: LONG,
                late: Late::Everything,
            };
            let end = if silence {
                End::Silence(ghost)
            } else {
                End::ResetClient(ghost)
            };
            let path = Path::with([cut(Way::Up, 3, end)]).await;
            let (mut client, mut old) = path.connect().await;
            send(&mut client, b"abcdef").await;
            expect(&mut old, b"abc").await;
            drop(client);
            expect_nothing(&mut old).await;
            let (mut client, mut new) = path.connect().await;
            expect_nothing(&mut old).await;
            send(&mut new, b"welcome").await;
            expect(&mut client, b"welcome").await;
            assert_eq!(read_to_end(&mut old).await, (b"def".to_vec(), true));
            send(&mut client, b"new").await;
            expect(&mut new, b"new").await;
        }
    });
}

/// What has not joined yet does not do so any more, where that is not wanted.
#[test]
fn a_ghost_may_be_late_behind_its_welcome_only() {
    run(async {
        for is_welcome in [false, true] {
            let ghost = Ghost {
                most: SILENCE,
                late: Late::BehindWelcome,
            };
            let path = Path::with([cut(Way::Up, 3, End::Silence(ghost))]).await;
            let (mut client, mut server) = path.connect().await;
            if is_welcome {
                path.proxy.is_welcome();
            }
            send(&mut client, b"abcdef").await;
            expect(&mut server, b"abc").await;
            drop(client);
            let (came, _) = read_to_end(&mut server).await;
            assert_eq!(came, if is_welcome { &b"def"[..] } else { b"" });
        }
    });
}

#[test]
fn a_ghost_goes_when_nobody_comes_back() {
    run(async {
        let ghost = Ghost {
            most: SILENCE,
            late: Late::Nothing,
        };
        let path = Path::with([cut(Way::Up, 3, End::ResetClient(ghost))]).await;
        let (mut client, mut server) = path.connect().await;
        send(&mut client, b"abcdef").await;
        assert_eq!(read_to_end(&mut client).await, (Vec::new(), false));
        assert!(!read_to_end(&mut server).await.1);
    });
}

#[test]
fn what_is_stalled_comes_later() {
    run(async {
        let at = Byte {
            way: Way::Up,
            after: 3,
        };
        let plan = Plan {
            chunk: 1,
            stall: Some(At {
                at,
                what: 2 * SILENCE,
            }),
            ..Plan::CALM
        };
        let path = Path::with([plan]).await;
        let (mut client, mut server) = path.connect().await;
        send(&mut client, b"abcdef").await;
        expect(&mut server, b"abc").await;
        let begun = std::time::Instant::now();
        expect(&mut server, b"def").await;
        assert!(begun.elapsed() >= SILENCE);
    });
}
