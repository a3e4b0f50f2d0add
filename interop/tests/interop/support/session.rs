//! A v1 session put together from the reference's own header, hash and body types.
//!
//! `MsgConn` of 1.1.7 cannot be given a secret, shows neither frames nor announcements, and joins
//! no CID but the one of its key. This can, and does.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Instant;

use mles_utils::{Msg, MsgHdr, ResyncMsg};

use super::{DEADLINE, Secrets};

/// One frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Header and body.
    pub(crate) bytes: Vec<u8>,
    pub(crate) cid: u32,
    pub(crate) uid: String,
    pub(crate) message: Vec<u8>,
}

impl Frame {
    /// The message as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.message).unwrap()
    }
}

/// A connection that has sent its join frame; whether it was let in shows later.
pub(crate) struct Session {
    stream: TcpStream,
    uid: String,
    channel: String,
    key: u64,
    cid: u32,
}

impl Session {
    /// Joins with an empty message and the CID of its key.
    pub(crate) fn join(server: SocketAddr, secrets: Secrets, uid: &str, channel: &str) -> Self {
        let mut session = Self::connect(server, secrets, uid, channel);
        session.send("");
        session
    }

    /// Joins with an empty message and this CID.
    pub(crate) fn join_as(
        server: SocketAddr,
        secrets: Secrets,
        uid: &str,
        channel: &str,
        cid: u32,
    ) -> Self {
        let mut session = Self::connect(server, secrets, uid, channel);
        session.set_cid(cid);
        session.send("");
        session
    }

    /// Connects and sends nothing yet: the first [`send`](Self::send) is the join.
    pub(crate) fn connect(server: SocketAddr, secrets: Secrets, uid: &str, channel: &str) -> Self {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        let key = key_of(&stream.local_addr().unwrap(), secrets, uid, channel);
        let cid = MsgHdr::select_cid(key);
        Self {
            stream,
            uid: uid.to_owned(),
            channel: channel.to_owned(),
            key,
            cid,
        }
    }

    pub(crate) fn cid(&self) -> u32 {
        self.cid
    }

    /// Uses this CID from now on.
    pub(crate) fn set_cid(&mut self, cid: u32) {
        self.cid = cid;
    }

    /// Sends a message and returns the frame that carries it.
    pub(crate) fn send(&mut self, message: &str) -> Vec<u8> {
        let frame = self.frame(message);
        self.stream.write_all(&frame).unwrap();
        frame
    }

    /// The frame that [`send`](Self::send) would send.
    pub(crate) fn frame(&self, message: &str) -> Vec<u8> {
        let message = message.as_bytes().to_vec();
        self.with_header(Msg::new(self.uid.clone(), self.channel.clone(), message).encode())
    }

    /// Sends a message as [`send`](Self::send) does, and asks for positions in the same body. For a join.
    pub(crate) fn send_asking(&mut self, message: &str) {
        let frame = self.asking_frame(message);
        self.stream.write_all(&frame).unwrap();
    }

    /// The frame that [`send_asking`](Self::send_asking) would send: the body of a reference client has one key more,
    /// `"resume": {"publisher": 7}`.
    pub(crate) fn asking_frame(&self, message: &str) -> Vec<u8> {
        let message = message.as_bytes().to_vec();
        let mut body = Msg::new(self.uid.clone(), self.channel.clone(), message).encode();
        assert_eq!(body[0], 0xA3, "a map of three");
        body[0] = 0xA4;
        body.extend_from_slice(b"\x66resume\xA1\x69publisher\x07");
        self.with_header(body)
    }

    /// Sends a resync message, as a peer of the reference makes it of the frames in its history.
    pub(crate) fn send_resync(&mut self, history: &Vec<Vec<u8>>) {
        let frame = self.with_header(ResyncMsg::new(history).encode());
        self.stream.write_all(&frame).unwrap();
    }

    /// Sends a frame with this body.
    pub(crate) fn send_body(&mut self, body: Vec<u8>) {
        let frame = self.with_header(body);
        self.stream.write_all(&frame).unwrap();
    }

    fn with_header(&self, body: Vec<u8>) -> Vec<u8> {
        let header = MsgHdr::new(u32::try_from(body.len()).unwrap(), self.cid, self.key);
        [header.encode(), body].concat()
    }

    /// The next frame, or `None` once the server has closed the session.
    pub(crate) fn receive(&mut self) -> Option<Frame> {
        let mut bytes = vec![0; MsgHdr::get_hdrkey_len()];
        if !self.fill(&mut bytes) {
            return None;
        }
        let header = MsgHdr::decode(bytes.clone());
        assert_eq!(header.get_type(), b'M', "not a frame: {bytes:x?}");
        let mut body = vec![0; header.get_len() as usize];
        assert!(
            self.fill(&mut body),
            "the server closed in the middle of a frame"
        );
        let message = Msg::decode(&body);
        bytes.extend_from_slice(&body);
        Some(Frame {
            bytes,
            cid: header.get_cid(),
            uid: message.get_uid().clone(),
            message: message.get_message().clone(),
        })
    }

    /// Waits until something has come or the session has ended; false if nothing has by `end`.
    pub(crate) fn has_more(&self, end: Instant) -> bool {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        self.stream.set_read_timeout(Some(left)).unwrap();
        let came = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(Some(DEADLINE)).unwrap();
        !matches!(
            came.map_err(|error| error.kind()),
            Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)
        )
    }

    /// The next frame whose message is not empty.
    pub(crate) fn receive_message(&mut self) -> Frame {
        loop {
            let frame = self.receive().expect("the session has ended");
            if !frame.message.is_empty() {
                return frame;
            }
        }
    }

    /// The next frames, announcements included, up to the message `last`.
    pub(crate) fn frames_until(&mut self, last: &str) -> Vec<Frame> {
        let mut frames: Vec<Frame> = Vec::new();
        while frames
            .last()
            .is_none_or(|frame| frame.message != last.as_bytes())
        {
            frames.push(self.receive().expect("the session has ended"));
        }
        frames
    }

    /// The next frames, notices among them, up to the message `last`.
    pub(crate) fn all_frames_until(&mut self, last: &str) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        loop {
            let mut frame = vec![0; MsgHdr::get_hdrkey_len()];
            assert!(self.fill(&mut frame), "the session has ended");
            let len =
                usize::from(frame[1]) << 16 | usize::from(frame[2]) << 8 | usize::from(frame[3]);
            let mut body = vec![0; len];
            assert!(len == 0 || self.fill(&mut body), "the session has ended");
            let is_last = frame[0] == b'M' && Msg::decode(&body).get_message() == last.as_bytes();
            frame.append(&mut body);
            frames.push(frame);
            if is_last {
                return frames;
            }
        }
    }

    /// The texts of these frames; that of an announcement is empty.
    pub(crate) fn texts_until(&mut self, last: &str) -> Vec<String> {
        self.frames_until(last)
            .iter()
            .map(|frame| frame.text().to_owned())
            .collect()
    }

    /// Closes the sending half.
    pub(crate) fn stop_sending(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads exactly `buffer`; false if the session ended before its first byte.
    fn fill(&mut self, buffer: &mut [u8]) -> bool {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.stream.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => panic!("nothing came from the server: {error}"),
            }
        }
        assert!(
            filled == 0 || filled == buffer.len(),
            "the server closed in the middle of a frame"
        );
        filled == buffer.len()
    }
}

fn key_of(local: &SocketAddr, secrets: Secrets, uid: &str, channel: &str) -> u64 {
    let mut parts = Vec::new();
    if let Some(shared) = secrets.shared {
        parts.push(shared.to_owned());
    } else {
        parts.push(MsgHdr::addr2str(local));
        parts.extend(secrets.address.map(str::to_owned));
    }
    parts.extend([uid.to_owned(), channel.to_owned()]);
    MsgHdr::do_hash(&parts)
}
