//! A TCP proxy between two servers that does what networks do: it delays, throttles, stalls, swallows,
//! cuts anywhere, and refuses.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often an idle thread looks whether something has changed.
const TICK: Duration = Duration::from_millis(5);

/// What happens to the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Each read is passed on this much later.
    Delay(Duration),
    /// This many bytes every [`TICK`].
    Throttle(usize),
    /// Nothing is read nor passed on: a path that is gone for a while.
    Stall,
    /// What comes is read and lost. Connections that lost something never work again; they are
    /// reset when the mode changes: a path through a box that has forgotten them.
    Swallow,
    /// New connections are closed at once; those that stand are passed.
    Refuse,
}

/// How connections are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    Close,
    Reset,
}

#[derive(Debug)]
struct Control {
    target: Mutex<SocketAddr>,
    mode: Mutex<Mode>,
    stop: AtomicBool,
    accepted: AtomicUsize,
    /// Bytes that pass until the connection that carries them is reset; negative is never.
    left: AtomicI64,
    connections: Mutex<Vec<Arc<Pair>>>,
}

#[derive(Debug)]
struct Pair {
    client: TcpStream,
    server: TcpStream,
    has_lost: AtomicBool,
}

impl Pair {
    fn cut(&self, cut: Cut) {
        for stream in [&self.client, &self.server] {
            if cut == Cut::Reset {
                let linger = Some(Duration::ZERO);
                let _ = socket2::SockRef::from(stream).set_linger(linger);
            }
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// A proxy in front of one server. Dropping it ends its threads and connections.
#[derive(Debug)]
pub struct Proxy {
    pub address: SocketAddr,
    control: Arc<Control>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Proxy {
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let control = Arc::new(Control {
            target: Mutex::new(target),
            mode: Mutex::new(Mode::Pass),
            stop: AtomicBool::new(false),
            accepted: AtomicUsize::new(0),
            left: AtomicI64::new(-1),
            connections: Mutex::default(),
        });
        let threads = Arc::new(Mutex::new(Vec::new()));
        let accept = {
            let (control, threads) = (control.clone(), threads.clone());
            std::thread::spawn(move || accept(&listener, &control, &threads))
        };
        threads.lock().unwrap().push(accept);
        Self {
            address,
            control,
            threads,
        }
    }

    /// Connections from now on go there.
    pub fn redirect(&self, target: SocketAddr) {
        *self.control.target.lock().unwrap() = target;
    }

    pub fn set(&self, mode: Mode) {
        *self.control.mode.lock().unwrap() = mode;
        if mode != Mode::Swallow {
            let connections = self.control.connections.lock().unwrap();
            let lost = |pair: &&Arc<Pair>| pair.has_lost.load(Ordering::Acquire);
            connections
                .iter()
                .filter(lost)
                .for_each(|p| p.cut(Cut::Reset));
        }
    }

    /// Ends all connections.
    pub fn cut(&self, cut: Cut) {
        let connections = self.control.connections.lock().unwrap();
        connections.iter().for_each(|pair| pair.cut(cut));
    }

    /// Resets the connection that carries the `bytes`th byte from now on, in the middle of a write.
    pub fn cut_after(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap();
        self.control.left.store(bytes, Ordering::Release);
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.control.accepted.load(Ordering::Acquire)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.control.stop.store(true, Ordering::Release);
        self.cut(Cut::Reset);
        loop {
            // A thread may have started another.
            let threads = std::mem::take(&mut *self.threads.lock().unwrap());
            if threads.is_empty() {
                return;
            }
            threads.into_iter().for_each(|t| t.join().unwrap());
        }
    }
}

impl Control {
    fn mode(&self) -> Mode {
        *self.mode.lock().unwrap()
    }

    fn has_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// How many of `n` bytes may pass before the cut, if that is due.
    fn until_cut(&self, n: usize) -> Option<usize> {
        let n = i64::try_from(n).unwrap();
        let before = self.left.load(Ordering::Acquire);
        if before < 0 {
            return None;
        }
        self.left.fetch_sub(n, Ordering::AcqRel);
        (before < n).then(|| usize::try_from(before).unwrap())
    }
}

fn accept(
    listener: &TcpListener,
    control: &Arc<Control>,
    threads: &Arc<Mutex<Vec<JoinHandle<()>>>>,
) {
    while !control.has_stopped() {
        let Ok((client, _)) = listener.accept() else {
            std::thread::sleep(TICK);
            continue;
        };
        control.accepted.fetch_add(1, Ordering::AcqRel);
        if control.mode() == Mode::Refuse {
            continue;
        }
        let target = *control.target.lock().unwrap();
        let Ok(server) = TcpStream::connect(target) else {
            continue;
        };
        for stream in [&client, &server] {
            stream.set_nonblocking(false).unwrap();
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(TICK)).unwrap();
        }
        let pair = Arc::new(Pair {
            client,
            server,
            has_lost: AtomicBool::new(false),
        });
        control.connections.lock().unwrap().push(pair.clone());
        for up in [true, false] {
            let (control, pair) = (control.clone(), pair.clone());
            let pump = std::thread::spawn(move || {
                let (from, to) = if up {
                    (&pair.client, &pair.server)
                } else {
                    (&pair.server, &pair.client)
                };
                pump(&control, &pair, from, to);
            });
            threads.lock().unwrap().push(pump);
        }
    }
}

/// Passes bytes one way until the connection ends.
fn pump(control: &Control, pair: &Pair, mut from: &TcpStream, to: &TcpStream) {
    let mut buf = vec![0; 16 << 10];
    while !control.has_stopped() {
        let mode = control.mode();
        if mode == Mode::Stall {
            std::thread::sleep(TICK);
            continue;
        }
        let n = match from.read(&mut buf) {
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(n) => n,
            Err(error) if is_idle(&error) => continue,
            Err(_) => return pair.cut(Cut::Reset),
        };
        if mode == Mode::Swallow {
            pair.has_lost.store(true, Ordering::Release);
            // The mode may have changed since the read began: then nobody else cuts it.
            if control.mode() == Mode::Swallow {
                continue;
            }
            return pair.cut(Cut::Reset);
        }
        if pass(control, mode, &buf[..n], to).is_err() {
            return pair.cut(Cut::Reset);
        }
    }
}

fn is_idle(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

/// Writes what was read, as the mode has it; an error when the connection is to be reset.
fn pass(control: &Control, mode: Mode, bytes: &[u8], mut to: &TcpStream) -> io::Result<()> {
    if let Some(passed) = control.until_cut(bytes.len()) {
        to.write_all(&bytes[..passed])?;
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    match mode {
        Mode::Delay(delay) => {
            std::thread::sleep(delay);
            to.write_all(bytes)
        }
        Mode::Throttle(rate) => bytes.chunks(rate.max(1)).try_for_each(|chunk| {
            if control.mode() == mode {
                std::thread::sleep(TICK);
            }
            to.write_all(chunk)
        }),
        Mode::Pass | Mode::Stall | Mode::Swallow | Mode::Refuse => to.write_all(bytes),
    }
}
