//! A TCP proxy that cuts its connections at bytes that are chosen before they begin.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

/// Size of the kernel's buffers for a connection that is to fill up soon, in bytes.
const SMALL_BUFFER: u32 = 8192;
/// Its segments, in bytes: what a server's kernel keeps for a connection follows from their size.
const SMALL_SEGMENT: u32 = 1000;

/// The way that bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the server.
    Up,
    /// To the client.
    Down,
}

/// The end of a connection before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both sides are closed.
    Close,
    /// Both sides are reset.
    Reset,
    /// One way ends in order, and what is still sent that way is lost. The other way goes on.
    HalfClose,
    /// The client's side is reset. See [`Ghost`] for the server's.
    ResetClient(Ghost),
    /// Nothing passes any more, and nobody is told, until the client gives up.
    Silence(Ghost),
}

/// A connection that lives on for the server when its client is gone: until the next connection has brought its client
/// something, or for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ghost {
    pub most: Duration,
    /// What the client had sent and still comes to the server, at the end.
    pub late: Late,
}

/// What a ghost brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    Nothing,
    /// Everything, if the client had its welcome, and so has joined already.
    BehindWelcome,
    Everything,
}

/// A place in a connection: behind so many bytes of one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Byte {
    pub way: Way,
    pub after: u64,
}

/// What happens at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At<T> {
    pub at: Byte,
    pub what: T,
}

/// The faults of one connection.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Most bytes that are passed on at once.
    pub chunk: usize,
    /// One way rests for a while.
    pub stall: Option<At<Duration>>,
    pub end: Option<At<End>>,
    /// Set if the kernel is to keep little of what a client does not read.
    pub has_small_buffers: bool,
}

impl Plan {
    /// Everything passes.
    pub const CALM: Self = Self {
        chunk: 64 << 10,
        stall: None,
        end: None,
        has_small_buffers: false,
    };
}

/// A proxy of one client, which has one connection at a time.
#[derive(Debug)]
pub struct Proxy {
    pub address: SocketAddr,
    state: Rc<State>,
}

impl Proxy {
    /// Accepts until the runtime ends. `target` and `plan` are asked for each connection.
    pub fn to(
        target: impl FnMut() -> SocketAddr + 'static,
        plan: impl FnMut() -> Plan + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Rc::<State>::default();
        spawn_local(accept(listener, target, plan, state.clone()));
        Self { address, state }
    }

    /// The client says that it has its welcome on the connection that it has now.
    pub fn is_welcome(&self) {
        self.state.welcome.set(self.state.accepted.get());
    }
}

/// What the connections of a proxy know of each other, by their numbers.
#[derive(Debug, Default)]
struct State {
    accepted: Cell<u64>,
    /// The newest on which the client had its welcome.
    welcome: Cell<u64>,
    /// The newest that has brought its client something.
    served: watch::Sender<u64>,
}

async fn accept(
    listener: TcpListener,
    mut target: impl FnMut() -> SocketAddr + 'static,
    mut plan: impl FnMut() -> Plan + 'static,
    state: Rc<State>,
) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let number = state.accepted.get() + 1;
        state.accepted.set(number);
        let (target, plan, state) = (target(), plan(), state.clone());
        spawn_local(async move {
            // Nobody listens while the server is started again: the client sees its connection closed.
            if let Ok(server) = connect(target, &plan).await {
                let carried = Carried {
                    plan,
                    number,
                    state,
                    held: RefCell::default(),
                };
                carried.carry(client, server).await;
            }
        });
    }
}

async fn connect(target: SocketAddr, plan: &Plan) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if plan.has_small_buffers {
        socket.set_recv_buffer_size(SMALL_BUFFER)?;
        SockRef::from(&socket).set_tcp_mss(SMALL_SEGMENT)?;
    }
    socket.connect(target).await
}

/// One connection through the proxy.
struct Carried {
    plan: Plan,
    number: u64,
    state: Rc<State>,
    /// What the client had sent when it was cut off.
    held: RefCell<Vec<u8>>,
}

/// The reason why a way carries nothing more.
enum Over {
    /// Its end came, and was passed on.
    Ended,
    Failed,
    Cut(End),
}

impl Carried {
    async fn carry(&self, mut client: TcpStream, mut server: TcpStream) {
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
        }
        if self.plan.has_small_buffers {
            let client = SockRef::from(&client);
            client.set_send_buffer_size(SMALL_BUFFER as usize).unwrap();
        }
        match self.pass_both(&mut client, &mut server).await {
            Over::Ended | Over::Cut(End::Close | End::HalfClose) => {}
            Over::Failed | Over::Cut(End::Reset) => {
                reset(client);
                reset(server);
            }
            Over::Cut(End::ResetClient(ghost)) => {
                self.hold(&client);
                reset(client);
                self.haunt(server, ghost).await;
            }
            Over::Cut(End::Silence(ghost)) => {
                self.hold_to_end(client).await;
                self.haunt(server, ghost).await;
            }
        }
    }

    /// Passes both ways until both have ended, or one is cut.
    async fn pass_both(&self, client: &mut TcpStream, server: &mut TcpStream) -> Over {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let mut up = pin!(self.pass(Way::Up, &mut from_client, &mut to_server));
        let mut down = pin!(self.pass(Way::Down, &mut from_server, &mut to_client));
        let (mut is_up, mut is_down) = (true, true);
        while is_up || is_down {
            let over = tokio::select! {
                over = &mut up, if is_up => { is_up = false; over }
                over = &mut down, if is_down => { is_down = false; over }
            };
            if !matches!(over, Over::Ended) {
                return over;
            }
        }
        Over::Ended
    }

    async fn pass(&self, way: Way, from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>) -> Over {
        let mut stall = self.plan.stall.filter(|stall| stall.at.way == way);
        let mut end = self.plan.end.filter(|end| end.at.way == way);
        let mut buf = vec![0; self.plan.chunk];
        let mut passed = 0;
        loop {
            if let Some(stall) = stall.take_if(|stall| stall.at.after <= passed) {
                sleep(stall.what).await;
            }
            let n = match from.read(&mut buf).await {
                Err(_) => return Over::Failed,
                Ok(0) => {
                    // If it has failed, the other way sees it.
                    let _ = to.shutdown().await;
                    return Over::Ended;
                }
                Ok(n) => n,
            };
            let cut = end.take_if(|end| end.at.after < passed + n as u64);
            let most = cut.map_or(n, |cut| usize::try_from(cut.at.after - passed).unwrap());
            if way == Way::Down && most > 0 {
                self.state.served.send_if_modified(|served| {
                    let is_newer = *served < self.number;
                    *served = self.number.max(*served);
                    is_newer
                });
            }
            if self.write_all(way, &buf[..most], to).await.is_err() {
                return Over::Failed;
            }
            passed += most as u64;
            match cut {
                None => {}
                Some(At {
                    what: End::HalfClose,
                    ..
                }) => {
                    let _ = to.shutdown().await;
                    while let Ok(1..) = from.read(&mut buf).await {}
                    return Over::Ended;
                }
                Some(cut) => {
                    if way == Way::Up {
                        self.held.borrow_mut().extend_from_slice(&buf[most..n]);
                    }
                    return Over::Cut(cut.what);
                }
            }
        }
    }

    /// Passes bytes on. What has not been when the other way is cut, a ghost brings later.
    async fn write_all(
        &self,
        way: Way,
        mut bytes: &[u8],
        to: &mut WriteHalf<'_>,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            if way == Way::Up {
                bytes.clone_into(&mut self.held.borrow_mut());
            }
            let n = to.write(bytes).await?;
            bytes = &bytes[n..];
        }
        if way == Way::Up {
            self.held.borrow_mut().clear();
        }
        Ok(())
    }

    /// Takes what the client has sent and nobody has read.
    fn hold(&self, client: &TcpStream) {
        let mut buf = [0; 4096];
        while let Ok(n @ 1..) = client.try_read(&mut buf) {
            self.held.borrow_mut().extend_from_slice(&buf[..n]);
        }
    }

    /// Takes what the client sends until it closes.
    async fn hold_to_end(&self, mut client: TcpStream) {
        let mut buf = [0; 4096];
        while let Ok(n @ 1..) = client.read(&mut buf).await {
            self.held.borrow_mut().extend_from_slice(&buf[..n]);
        }
    }

    /// Keeps the server's side of a connection whose client is gone.
    async fn haunt(&self, mut server: TcpStream, ghost: Ghost) {
        let was_welcome = self.state.welcome.get() >= self.number;
        let mut served = self.state.served.subscribe();
        let is_back = served.wait_for(|&served| served > self.number);
        let _ = timeout(ghost.most, is_back).await;
        let held = self.held.take();
        let is_late = match ghost.late {
            Late::Nothing => false,
            Late::BehindWelcome => was_welcome,
            Late::Everything => true,
        };
        if is_late && !held.is_empty() && server.write_all(&held).await.is_ok() {
            // It is read before the end comes, however the server answers.
            let _ = server.shutdown().await;
            let mut buf = [0; 4096];
            let read = async { while let Ok(1..) = server.read(&mut buf).await {} };
            let _ = timeout(ghost.most, read).await;
        }
        reset(server);
    }
}

fn reset(stream: TcpStream) {
    // It may have failed already.
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}
