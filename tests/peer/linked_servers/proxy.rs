//! A TCP proxy between two servers that does what networks do: it delays, throttles, stalls, swallows,
//! cuts anywhere, and refuses.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// The interval at which an idle thread looks for changes.
const TICK: Duration = Duration::from_millis(5);

/// The fault that bytes and connections meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Each read is passed on this much later, on the way to the server and back.
    Delay {
        up: Duration,
        down: Duration,
    },
    /// This many bytes every [`TICK`].
    Throttle(usize),
    /// Nothing is read nor passed on: a path that is gone for a while.
    Stall,
    /// Everything is read and lost, the end of a connection included. Connections that lost
    /// something never work again; they are reset when the mode changes: a path through a box that
    /// has forgotten them.
    Swallow,
    /// New connections are closed at once; those that stand are passed.
    Refuse,
}

/// The way in which connections end.
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
    connections: Mutex<Vec<Weak<Pair>>>,
}

/// Both connections of one that passes the proxy. The threads that pump own it: it is closed when
/// they have ended.
#[derive(Debug)]
struct Pair {
    client: TcpStream,
    server: TcpStream,
    is_cut: AtomicBool,
}

impl Pair {
    fn cut(&self, cut: Cut) {
        for stream in [&self.client, &self.server] {
            // Either may have failed already.
            let _ = match cut {
                Cut::Close => stream.shutdown(Shutdown::Write),
                Cut::Reset => socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)),
            };
        }
        self.is_cut.store(true, Ordering::Release);
    }

    /// Something is lost: reads and loses what follows, and resets when the mode changes.
    fn lose(&self, control: &Control, mut from: &TcpStream) {
        let mut buf = [0; 4096];
        while control.mode() == Mode::Swallow && !self.has_ended(control) {
            match from.read(&mut buf) {
                Ok(1..) => {}
                Err(error) if is_idle(&error) => {}
                Ok(0) | Err(_) => std::thread::sleep(TICK),
            }
        }
        self.cut(Cut::Reset);
    }

    fn has_ended(&self, control: &Control) -> bool {
        control.has_stopped() || self.is_cut.load(Ordering::Acquire)
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
    }

    /// Ends all connections.
    pub fn cut(&self, cut: Cut) {
        let mut connections = self.control.connections.lock().unwrap();
        let left = connections.drain(..).filter_map(|pair| pair.upgrade());
        left.for_each(|pair| pair.cut(cut));
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

    /// Returns how many of `n` bytes may pass before the cut, if that is due.
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
            stream.set_write_timeout(Some(TICK)).unwrap();
        }
        let pair = Arc::new(Pair {
            client,
            server,
            is_cut: AtomicBool::new(false),
        });
        control
            .connections
            .lock()
            .unwrap()
            .push(Arc::downgrade(&pair));
        for up in [true, false] {
            let (control, pair) = (control.clone(), pair.clone());
            let pump = std::thread::spawn(move || {
                let (from, to) = if up {
                    (&pair.client, &pair.server)
                } else {
                    (&pair.server, &pair.client)
                };
                pump(&control, &pair, (from, to), up);
            });
            threads.lock().unwrap().push(pump);
        }
    }
}

/// Passes bytes one way until the connection ends.
fn pump(control: &Control, pair: &Pair, (mut from, to): (&TcpStream, &TcpStream), up: bool) {
    let mut buf = vec![0; 16 << 10];
    while !pair.has_ended(control) {
        let mode = control.mode();
        if mode == Mode::Stall {
            std::thread::sleep(TICK);
            continue;
        }
        let n = match from.read(&mut buf) {
            Err(error) if is_idle(&error) => continue,
            Err(_) => return pair.cut(Cut::Reset),
            Ok(n) => n,
        };
        if mode == Mode::Swallow {
            return pair.lose(control, from);
        }
        if n == 0 {
            // If it has failed, the other pump sees it.
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
        let Pass { delay, chunk } = pass(mode, up);
        std::thread::sleep(delay);
        let passed = control.until_cut(n);
        for chunk in buf[..passed.unwrap_or(n)].chunks(chunk) {
            if chunk.len() < n && control.mode() == mode {
                std::thread::sleep(TICK);
            }
            if write_all(control, pair, chunk, to).is_err() {
                return pair.cut(Cut::Reset);
            }
        }
        if passed.is_some() {
            return pair.cut(Cut::Reset);
        }
    }
}

/// The pace at which bytes are passed on.
struct Pass {
    delay: Duration,
    /// Most bytes at once.
    chunk: usize,
}

fn pass(mode: Mode, is_up: bool) -> Pass {
    let delay = match mode {
        Mode::Delay { up, .. } if is_up => up,
        Mode::Delay { down, .. } => down,
        _ => Duration::ZERO,
    };
    let chunk = match mode {
        Mode::Throttle(rate) => rate.max(1),
        _ => usize::MAX,
    };
    Pass { delay, chunk }
}

/// Writes all, however long the other side takes to read it, unless the connection is cut.
fn write_all(
    control: &Control,
    pair: &Pair,
    mut bytes: &[u8],
    mut to: &TcpStream,
) -> io::Result<()> {
    while !bytes.is_empty() && !pair.has_ended(control) {
        match to.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if is_idle(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_idle(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}
