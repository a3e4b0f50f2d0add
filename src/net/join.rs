//! The join: reads a connection's first frame and checks that it may enter the channel it names.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use tokio::io::AsyncRead;
use tokio::net::TcpStream;

use crate::access::{Proof, Rights, ShownToken};
use crate::channel::FrameRun;
use crate::protocol::{
    BodyCheck, Cid, FrameError, FrameHeader, HEADER_LEN, JoinExtensions, LinkNotice, Message,
    NOTICE_MAGIC, ResumeRequest, ResyncLimits, Scan, frame_len, is_resync, resync_join,
    resync_link, scan, scan_with_notices, take_extensions,
};
use crate::settings::Limits;
use crate::shard::farewell::refusal_notice;
use crate::shard::input::{Input, Next, Scanner};
use crate::shard::labels::Transport;
use crate::shard::layered::Layered;
use crate::shard::links::received_resync::ReceivedResync;
use crate::shard::message::{Arrival, Early, Identity, Introduced, Socket};
use crate::shard::pending_join::PendingJoin;
use crate::shard::refusal::{Attempt, Refusal};
use crate::shard::stream::{StreamReader, is_end};
use crate::shard::turn;
use crate::shard::{Common, Shard};

/// Most frames in a resync message that are looked at.
const MAX_RESYNC_FRAMES: usize = 100_000;

/// The first frame, and the input that came behind it.
type FirstFrame = (Bytes, Early);

/// Takes a plain connection to its channel.
pub(super) async fn plain(shard: &Rc<Shard>, stream: TcpStream, pending: PendingJoin) {
    let (mut reader, writer) = stream.into_split();
    let first = first_frame(shard, &mut reader, &pending).await;
    let socket = reader.reunite(writer).map(Socket::Here);
    match (first, socket) {
        (Ok(first), Ok(socket)) => {
            let is_private = pending.is_near(&shard.common.settings());
            route(shard, socket, first, pending, is_private).await;
        }
        (Err(refusal), _) => shard.note_refusal(pending.peer, Attempt::Join, &refusal),
        (Ok(_), Err(_)) => shard.note_refusal(pending.peer, Attempt::Join, &Refusal::LeftInside),
    }
}

/// Takes a connection over TLS to its channel. It stays on this shard, unless it is that of a server:
/// what a server brings is merged on the channel's owner.
pub(super) async fn over_tls(shard: &Rc<Shard>, layered: Layered, pending: PendingJoin) {
    let layered = Rc::new(layered);
    let mut reader = StreamReader::Layered(layered.clone());
    let first = first_frame(shard, &mut reader, &pending).await;
    drop(reader);
    let (join, early) = match first {
        Ok(first) => first,
        Err(refusal) => return shard.note_refusal(pending.peer, Attempt::Join, &refusal),
    };
    if is_resync(join.get(HEADER_LEN..).unwrap_or_default()) {
        if let Some(layered) = Rc::into_inner(layered) {
            route(
                shard,
                Socket::Tls(Box::new(layered)),
                (join, early),
                pending,
                true,
            )
            .await;
        }
        return;
    }
    match admit(shard, &join, &pending, true).await {
        Ok(entry) => {
            let transport = layered.transport();
            let arrival = arrival(shard, (layered, transport), entry, early, pending);
            shard.serve_in_place(arrival).await;
        }
        Err(refusal) => {
            shard.note_refusal(pending.peer, Attempt::Join, &refusal);
            match (last_words(&join, &refusal), Rc::into_inner(layered)) {
                (Some(words), Some(layered)) => {
                    let socket = Socket::Tls(Box::new(layered));
                    shard.refuse_with(socket, pending.permit, words);
                }
                (None, Some(layered)) => layered.shut_down_write(),
                _ => {}
            }
        }
    }
}

/// Sends a connection that can move to its channel's owner, if its first frame is accepted.
async fn route(
    shard: &Rc<Shard>,
    socket: Socket,
    (join, early): FirstFrame,
    pending: PendingJoin,
    is_private: bool,
) {
    match admit(shard, &join, &pending, is_private).await {
        Ok(entry) => {
            // What comes over TLS moves only for servers, whose sessions are links.
            let socket = (socket, Transport::Tcp);
            shard.route(arrival(shard, socket, entry, early, pending));
        }
        Err(refusal) => {
            shard.note_refusal(pending.peer, Attempt::Join, &refusal);
            if let Some(words) = last_words(&join, &refusal) {
                shard.refuse_with(socket, pending.permit, words);
            }
        }
    }
}

/// Checks the first frame. A connection that passes does not have to make room any more. `is_private`: nobody on the
/// way can have read it.
async fn admit(
    shard: &Shard,
    first: &Bytes,
    pending: &PendingJoin,
    is_private: bool,
) -> Result<JoinRequest, Refusal> {
    let common = &shard.common;
    let mut entry = read_join(common, first, pending.peer, is_private)?;
    pending.permit.join().map_err(Refusal::LetGo)?;
    let body = first.slice(HEADER_LEN..);
    if is_resync(&body) {
        let live = common.live_arc();
        let limits = resync_limits(&live.settings.limits);
        let check = |message: &Message<'_>| {
            let names = live.access.check_names(message.uid, message.channel);
            names.map_err(Refusal::from)
        };
        let resync = shard.read_resync(&body, limits, check);
        entry.resync = Some(resync.await?);
    }
    Ok(entry)
}

fn arrival<S>(
    shard: &Shard,
    (socket, transport): (S, Transport),
    mut entry: JoinRequest,
    early: Early,
    pending: PendingJoin,
) -> Arrival<S> {
    if let Some(request) = &mut entry.resume {
        shard.common.own_publisher(&entry.rights, request);
    }
    if entry.rights.hides_keys() {
        entry.join = FrameRun::exact(entry.join, 1)
            .without_keys()
            .bytes()
            .clone();
    }
    Arrival {
        introduced: Introduced::No,
        socket,
        origin: shard.id,
        identity: Identity {
            session: shard.common.limiter.next_session(),
            cid: entry.cid,
            peer: pending.peer,
            uid: entry.uid,
            rights: entry.rights,
            permit: Some(pending.permit),
            transport,
        },
        channel: entry.channel,
        join: entry.join,
        is_silent: entry.is_silent,
        resync: entry.resync,
        resume: entry.resume,
        gateway: None,
        early,
    }
}

/// Returns what a server, or a client that asks for notices, is told of why it is refused; `None` if the first frame
/// does not say whom to tell.
fn last_words(first: &[u8], refusal: &Refusal) -> Option<Bytes> {
    let body = first.get(HEADER_LEN..)?;
    if let Some(hello) = resync_link(body) {
        let cid = FrameHeader::decode(first).ok().flatten()?.cid;
        let why = refusal.for_link()?;
        return Some(LinkNotice::Refused(why).encode(hello.id, cid));
    }
    let (_, extensions) = take_extensions(body).ok()?;
    extensions.resume.map(|_| refusal_notice(refusal))
}

/// Reads the first frame within the deadline.
async fn first_frame(
    shard: &Rc<Shard>,
    reader: &mut (impl AsyncRead + Unpin),
    pending: &PendingJoin,
) -> Result<FirstFrame, Refusal> {
    let (run, early) = pending.wait_for(read_first(shard, reader)).await??;
    Ok(split_first(run, early))
}

/// Reads until there is a whole frame. Memory that it has charged is given back however it ends.
async fn read_first(
    shard: &Rc<Shard>,
    reader: &mut (impl AsyncRead + Unpin),
) -> Result<(FrameRun, Early), Refusal> {
    let frames = FirstFrames {
        max_body: shard.max_body(),
    };
    let mut input = ChargedInput {
        shard,
        input: Input::default(),
    };
    let mut has_begun = false;
    loop {
        let step = poll_fn(|cx| {
            let mut scratch = shard.join_scratch().borrow_mut();
            input.input.poll_read(cx, reader, &mut scratch, &frames)
        });
        let step = match step.await {
            Ok(step) => step,
            // As health checks end: nothing was wrong with it.
            Err(error) if is_end(&error) && !has_begun => return Err(Refusal::LeftSilently),
            Err(error) => return Err(error.into()),
        };
        has_begun = true;
        if turn::is_expensive() {
            shard.yield_turn().await;
        }
        let bad = match step.next {
            Next::Wait | Next::Again => None,
            Next::Eof { torn: false } => return Err(Refusal::LeftSilently),
            Next::Eof { torn: true } => return Err(Refusal::LeftInside),
            Next::Bad(error) => Some(error),
            Next::Overdrawn => return Err(Refusal::Overdrawn),
        };
        match (step.run, bad) {
            (Some(run), bad) => {
                let partial = input
                    .input
                    .take_partial(&mut shard.join_scratch().borrow_mut());
                return Ok((
                    run,
                    Early {
                        run: None,
                        partial,
                        bad,
                    },
                ));
            }
            (None, Some(error)) => return Err(error.into()),
            (None, None) => {}
        }
    }
}

/// Scans for the first frame of a client, and what it has sent behind that: a token may be among it, and whether the client
/// may show one is known when it has joined.
struct FirstFrames {
    /// Largest body in bytes.
    max_body: usize,
}

impl Scanner for FirstFrames {
    type Error = FrameError;

    fn scan(&self, buf: &[u8]) -> Scan {
        if buf.first() == Some(&NOTICE_MAGIC) {
            return scan(buf, self.max_body, &BodyCheck::Off);
        }
        scan_with_notices(buf, self.max_body, &BodyCheck::Off).0
    }
}

/// Buffer for an incomplete join frame. Gives its memory back when it is dropped.
struct ChargedInput<'a> {
    shard: &'a Shard,
    input: Input,
}

impl Drop for ChargedInput<'_> {
    fn drop(&mut self) {
        self.input
            .release(&mut self.shard.join_scratch().borrow_mut());
    }
}

/// Takes the join frame off the front of the first run.
fn split_first(run: FrameRun, mut early: Early) -> (Bytes, Early) {
    let len = frame_len(run.bytes())
        .unwrap_or_default()
        .min(run.bytes().len());
    // A buffer of its own: the frame may wait in a history for long. A long frame has one already.
    let join = if run.pinned() == len {
        run.bytes().slice(..len)
    } else {
        Bytes::copy_from_slice(&run.bytes()[..len])
    };
    if let Ok(frames @ 1..) = u32::try_from(run.frames().saturating_sub(1)) {
        early.run = Some(FrameRun::slice_of(
            run.bytes().slice(len..),
            frames,
            run.pinned(),
        ));
    }
    (join, early)
}

/// A first frame, read and checked.
struct JoinRequest {
    cid: Cid,
    uid: Box<str>,
    channel: Box<str>,
    rights: Rights,
    is_silent: bool,
    /// The join frame: the first frame itself, without its extensions, or the first in a resync.
    join: Bytes,
    resync: Option<Box<ReceivedResync>>,
    /// Set if the client asks for positions.
    resume: Option<Box<ResumeRequest>>,
}

/// Checks the names and the key of a first frame. Nothing else of a resync is read yet.
fn read_join(
    common: &Common,
    first: &Bytes,
    peer: SocketAddr,
    is_private: bool,
) -> Result<JoinRequest, Refusal> {
    let header = FrameHeader::decode(first)?.ok_or(Refusal::LeftInside)?;
    let live = common.live();
    let body = first.slice(HEADER_LEN..);
    let is_resync = is_resync(&body);
    let (join, extensions) = if is_resync {
        let joining = resync_join(&body, resync_limits(&live.settings.limits))?;
        // A buffer of its own: it may outlive the resync.
        (Bytes::copy_from_slice(joining), JoinExtensions::default())
    } else {
        without_extensions(first, header)?
    };
    let inner = FrameHeader::decode(&join)?.ok_or(Refusal::LeftInside)?;
    let message = Message::decode(&join[HEADER_LEN..])?;
    let proof = match extensions.token {
        _ if is_resync => Proof::Resync {
            nested: inner.key,
            outer: header.key,
        },
        Some(text) => Proof::Token(ShownToken { text, is_private }),
        None => Proof::Key(header.key),
    };
    let (uid, channel) = (message.uid, message.channel);
    let rights = common.join(proof, peer, uid, channel)?;
    Ok(JoinRequest {
        cid: header.cid,
        uid: uid.into(),
        channel: channel.into(),
        rights,
        is_silent: message.message.is_empty(),
        join,
        resync: None,
        resume: extensions.resume.map(Box::new),
    })
}

/// Takes the extensions out of a first frame.
fn without_extensions(
    first: &Bytes,
    header: FrameHeader,
) -> Result<(Bytes, JoinExtensions<'_>), Refusal> {
    let (body, extensions) = take_extensions(&first[HEADER_LEN..])?;
    if extensions.is_empty() {
        return Ok((first.clone(), extensions));
    }
    let body_len = body.len();
    let header = FrameHeader { body_len, ..header };
    let join = [&header.encode()[..], &body].concat();
    Ok((join.into(), extensions))
}

fn resync_limits(limits: &Limits) -> ResyncLimits {
    ResyncLimits {
        max_frames: MAX_RESYNC_FRAMES,
        max_body: limits.max_frame - HEADER_LEN,
    }
}
