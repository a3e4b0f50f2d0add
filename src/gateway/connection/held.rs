//! What a client sends while publishers are held back: its pings are answered, and its messages are kept until it may go
//! on.
//!
//! Only so much is kept as every connection may have without being charged for it. When that is full nothing more is
//! read, so that the client is held back by TCP, and a ping behind it has no answer yet.

use std::pin::Pin;

use bytes::Bytes;

use super::WsConnection;
use super::closing::Closing;
use super::intake::unmasked;
use crate::shard::allowance::{FREE, evicted};
use crate::shard::input::{Next, ReadStep};
use crate::shard::turn;
use crate::websocket::{Opcode, WsFrameError, client_frames, server_frame};

/// Frames that have come while publishers were held back, and how the connection has ended behind them.
#[derive(Debug, Default)]
pub(super) struct HeldInput {
    /// Whole frames as they came, but for pings and pongs.
    bytes: Vec<u8>,
    frames: usize,
    end: Option<Closing>,
}

impl WsConnection {
    /// Answers pings until publishers are not held back any more. Cancel safe.
    ///
    /// # Errors
    ///
    /// The memory for incomplete messages was needed for those of others.
    pub(super) async fn listen_until(
        &mut self,
        mut over: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), Closing> {
        loop {
            tokio::select! {
                biased;
                () = &mut over => return Ok(()),
                heard = self.listen_while_held() => heard?,
            }
            if turn::is_expensive() {
                self.shard.yield_turn().await;
            }
        }
    }

    /// Reads once while publishers are held back, if there is room for what comes. Cancel safe.
    ///
    /// # Errors
    ///
    /// The memory for incomplete messages was needed for those of others.
    async fn listen_while_held(&mut self) -> Result<(), Closing> {
        let room = self.room_while_held();
        if room == 0 {
            let scratch = self.shard.scratch_of(self.has_joined());
            evicted(scratch, [self.input.share(), &self.incoming.share]).await;
            return Err(Closing::Overdrawn);
        }
        let step = self.read(room).await;
        self.hold(step)
    }

    /// Takes out what has come while publishers were held back: frames, and their number.
    pub(super) fn take_held(&mut self) -> Option<(Bytes, usize)> {
        let held = self.held.as_mut().filter(|held| held.frames > 0)?;
        let frames = std::mem::take(&mut held.frames);
        Some((std::mem::take(&mut held.bytes).into(), frames))
    }

    /// Takes out how the connection has ended while publishers were held back; to be asked when all frames before that are
    /// taken in.
    pub(super) fn take_held_end(&mut self) -> Option<Closing> {
        self.held.take()?.end
    }

    /// Returns how many bytes may be read now. A long frame that has begun waits, as its buffer is charged.
    fn room_while_held(&self) -> usize {
        if !self.is_listening {
            return 0;
        }
        let kept = match self.held.as_deref() {
            Some(HeldInput { end: Some(_), .. }) => return 0,
            Some(held) => held.bytes.len(),
            None => 0,
        };
        let begun = self.input.received().map_or(0, |it| it.bytes);
        FREE.saturating_sub(kept + begun)
    }

    fn hold(&mut self, step: std::io::Result<ReadStep<WsFrameError>>) -> Result<(), Closing> {
        let held = self.held.get_or_insert_default();
        let step = match step {
            Ok(step) => step,
            Err(error) => {
                held.end = Some(Closing::Gone(error));
                return Ok(());
            }
        };
        if let Some(run) = &step.run {
            let mut at = 0;
            for (head, payload) in client_frames(run.bytes()) {
                let start = at;
                at += head.head_len + head.payload_len;
                turn::spend(1);
                match head.opcode {
                    Opcode::Ping => {
                        let pong = server_frame(Opcode::Pong, &unmasked(&head, payload));
                        self.layered.pong(pong);
                    }
                    Opcode::Pong => {}
                    _ => {
                        held.bytes.extend_from_slice(&run.bytes()[start..at]);
                        held.frames += 1;
                    }
                }
            }
        }
        match step.next {
            Next::Wait | Next::Again => {}
            Next::Eof { .. } => {
                held.end = Some(Closing::Gone(std::io::ErrorKind::UnexpectedEof.into()));
            }
            Next::Bad(error) => held.end = Some(error.into()),
            Next::Overdrawn => return Err(Closing::Overdrawn),
        }
        Ok(())
    }
}
