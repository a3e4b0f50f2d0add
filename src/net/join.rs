//! The join: reads a connection's first frame and checks that it may enter the channel it names.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::timeout;

use super::refusal::Refusal;
use crate::channel::FrameRun;
use crate::escape::Escaped;
use crate::protocol::{
    BodyCheck, FrameHeader, HEADER_LEN, Message, ResyncLimits, decode_resync, frame_len, is_resync,
};
use crate::settings::{Limits, Settings};
use crate::shard::Shard;
use crate::shard::gate::Permit;
use crate::shard::input::{Input, Next};
use crate::shard::message::{Arrival, Early, Identity, Socket};

/// Most frames in a resync message that are looked at.
const MAX_RESYNC_FRAMES: usize = 100_000;

/// Reads the join frame within the deadline and checks it.
///
/// Nothing is kept if the future is dropped: the connection closes.
pub(super) async fn join(
    shard: &Rc<Shard>,
    stream: TcpStream,
    peer: SocketAddr,
    permit: Permit,
) -> Result<Arrival<Socket>, Refusal> {
    let settings = &shard.common.settings;
    let (mut reader, writer) = stream.into_split();
    let first = timeout(
        settings.limits.join_deadline,
        read_first(shard, &mut reader),
    )
    .await;
    let (run, early) = first.map_err(|_| Refusal::TooSlow)??;
    let (join, early) = split_first(run, early);
    let stream = reader.reunite(writer).map_err(|_| Refusal::LeftInside)?;
    let claim = check(settings, &join, peer)?;
    let identity = Identity {
        conn: shard.common.gate.next_conn(),
        cid: claim.header.cid,
        peer,
        uid: claim.message.uid.into(),
        permit,
    };
    Ok(Arrival {
        socket: Socket::Here(stream),
        origin: shard.id,
        identity,
        channel: claim.message.channel.into(),
        is_silent: claim.message.message.is_empty(),
        join: join.clone(),
        early,
    })
}

/// Reads until there is a whole frame. What it has charged is given back however it ends.
async fn read_first(
    shard: &Rc<Shard>,
    reader: &mut OwnedReadHalf,
) -> Result<(FrameRun, Early), Refusal> {
    let max_body = shard.max_body();
    let mut input = Charged {
        shard,
        input: Input::default(),
    };
    loop {
        let step = poll_fn(|cx| {
            let mut scratch = shard.join_scratch().borrow_mut();
            input
                .input
                .poll_read(cx, reader, &mut scratch, max_body, &BodyCheck::Off)
        });
        let step = step.await?;
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

/// Gives the memory of an incomplete join frame back when it is dropped.
struct Charged<'a> {
    shard: &'a Shard,
    input: Input,
}

impl Drop for Charged<'_> {
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
    // A buffer of its own: the frame may wait in a history for long.
    let join = Bytes::copy_from_slice(&run.bytes()[..len]);
    if let Ok(frames @ 1..) = u32::try_from(run.frames().saturating_sub(1)) {
        early.run = Some(FrameRun::slice_of(
            run.bytes().slice(len..),
            frames,
            run.pinned(),
        ));
    }
    (join, early)
}

/// What a join frame claims, once it is found to be true.
struct Claim<'a> {
    header: FrameHeader,
    message: Message<'a>,
}

fn check<'a>(settings: &Settings, join: &'a Bytes, peer: SocketAddr) -> Result<Claim<'a>, Refusal> {
    let header = FrameHeader::decode(join)?.ok_or(Refusal::LeftInside)?;
    let body = join.slice(HEADER_LEN..);
    if is_resync(&body) {
        let limits = ResyncLimits {
            max_frames: MAX_RESYNC_FRAMES,
            max_body: settings.limits.max_frame - HEADER_LEN,
        };
        decode_resync(&body, limits)?;
        return Err(Refusal::ResyncNotTaken);
    }
    let message = Message::decode(&join[HEADER_LEN..])?;
    check_lengths(&settings.limits, &message)?;
    let anyone = settings.allow_anonymous && !settings.keyring.is_secret();
    if !anyone
        && !settings
            .keyring
            .verify(header.key, peer, message.uid, message.channel)
    {
        return Err(Refusal::WrongKey {
            uid: Escaped(message.uid).to_string(),
            channel: Escaped(message.channel).to_string(),
            uses_address: settings.keyring.uses_address(),
        });
    }
    Ok(Claim { header, message })
}

fn check_lengths(limits: &Limits, message: &Message<'_>) -> Result<(), Refusal> {
    let names = [
        ("uid", message.uid.len(), limits.max_uid),
        (
            "channel name",
            message.channel.len(),
            limits.max_channel_name,
        ),
    ];
    match names.into_iter().find(|&(_, len, limit)| len > limit) {
        Some((what, len, limit)) => Err(Refusal::NameTooLong { what, len, limit }),
        None => Ok(()),
    }
}
