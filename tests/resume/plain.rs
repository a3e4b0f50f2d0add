//! Members that do not ask for positions: they notice nothing of those that do.

use std::rc::Rc;
use std::time::Duration;

use mles::protocol::Cid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::common::Rng;
use crate::log::Event;
use crate::payload::{Body, Tag};
use crate::proxy::Proxy;
use crate::shared::Shared;
use crate::wire::{Ask, Frames, Input, Wire as _, frame, uid_of};

/// A member over TCP that asks for nothing.
pub struct Plain {
    pub shared: Rc<Shared>,
    pub actor: usize,
    pub proxy: Proxy,
    pub rng: Rng,
}

impl Plain {
    /// Writes down what it gets, for as long as the run lasts.
    pub async fn listen(mut self) {
        let mut may_join = self.shared.may_join.subscribe();
        loop {
            may_join.wait_for(|may| *may).await.unwrap();
            self.shared.listens.send_replace(true);
            let why = self.listen_once().await.unwrap_err();
            self.shared.log(self.actor, Event::End(why));
            self.shared.listens.send_replace(false);
            sleep(Duration::from_millis(2)).await;
        }
    }

    async fn listen_once(&mut self) -> Result<(), String> {
        let (mut stream, mut wire) = self.join().await?;
        self.shared.log(self.actor, Event::PlainJoin);
        let mut bytes = Vec::new();
        loop {
            read(&mut stream, &mut bytes).await?;
            loop {
                let input = wire.take(&mut bytes, &mut Vec::new());
                let input = input.unwrap_or_else(|fault| self.shared.fail(self.actor, &fault));
                let Some(Input::Message { uid, payload, .. }) = input else {
                    break;
                };
                let body = payload.map_or(Body::Junk, |payload| {
                    self.shared.lengths.body(&payload, uid.as_deref())
                });
                self.shared.log(self.actor, Event::PlainMessage(body));
            }
        }
    }

    async fn join(&mut self) -> Result<(TcpStream, Frames), String> {
        let lost = |error: std::io::Error| error.to_string();
        let mut stream = TcpStream::connect(self.proxy.address).await.map_err(lost)?;
        stream.set_nodelay(true).unwrap();
        let mut wire = Frames::new();
        let ask = Ask {
            uid: uid_of(self.actor),
            cid: Cid(u32::try_from(self.rng.below(1 << 31)).unwrap() | 1 << 31),
            resume: None,
        };
        stream.write_all(&wire.open(&ask)).await.map_err(lost)?;
        Ok((stream, wire))
    }

    /// Sends each message once, without knowing what becomes of it, and now and then what is no message.
    pub async fn publish(mut self, quota: u32) {
        let mut next = 0;
        while next < quota {
            if let Err(why) = self.publish_once(&mut next, quota).await {
                self.shared.log(self.actor, Event::End(why));
                sleep(Duration::from_millis(2)).await;
            }
        }
    }

    async fn publish_once(&mut self, next: &mut u32, quota: u32) -> Result<(), String> {
        let (stream, wire) = self.join().await?;
        let (mut from, mut to) = stream.into_split();
        let mut ignored = Vec::new();
        while *next < quota {
            let tag = Tag {
                actor: self.actor,
                number: *next,
            };
            *next += 1;
            self.shared.count_settled(1);
            let mut bytes = wire.publish(tag, &self.shared.lengths.payload(tag));
            if self.rng.below(8) == 0 {
                bytes.extend(frame(Cid(1), b"this is no CBOR"));
            }
            let rest = Duration::from_millis(self.rng.below(12) as u64);
            let write = async {
                let written = to.write_all(&bytes).await;
                sleep(rest).await;
                written.map_err(|error| error.to_string())
            };
            let drain = async {
                loop {
                    ignored.clear();
                    if from
                        .read_buf(&mut ignored)
                        .await
                        .map_err(|error| error.to_string())?
                        == 0
                    {
                        return Err::<(), _>("the end of the stream".to_owned());
                    }
                }
            };
            tokio::select! {
                written = write => written?,
                ended = drain => ended?,
                () = sleep(Duration::from_secs(2)) => return Err("given up: stuck".to_owned()),
            }
        }
        // In order, so that what is on its way arrives, unless the network fails.
        let _ = to.shutdown().await;
        let rest = async { while let Ok(1..) = from.read(&mut [0; 4096]).await {} };
        let _ = timeout(Duration::from_millis(200), rest).await;
        Ok(())
    }
}

async fn read(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<(), String> {
    match stream.read_buf(bytes).await {
        Ok(0) => Err("the end of the stream".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
