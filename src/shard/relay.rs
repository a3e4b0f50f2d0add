//! The relaying side: members of channels that another shard owns.

use std::rc::Rc;
use std::time::Instant;

use super::Shard;
use super::conn::{Conn, Role};
use super::ids::{ChannelId, Home};
use super::message::{Adoption, Delivery, Request};
use crate::escape::Escaped;

impl Shard {
    /// Handles what the owner of a channel has sent. Never sends a delivery: see `mailbox`.
    pub(super) fn on_delivery(self: &Rc<Self>, delivery: Delivery) {
        match delivery {
            Delivery::Adopt(adoption) => self.adopt(*adoption),
            Delivery::Run {
                channel,
                except,
                run,
            } => {
                if let Some(at) = self.relay(channel) {
                    self.fan_out(Home::Relayed(at), except, &run, Instant::now());
                }
            }
            Delivery::Evict { channel, conn } => {
                if let Some(at) = self.relay(channel) {
                    self.evict(at, conn);
                }
            }
            Delivery::Hold { channel, on } => {
                let mut registry = self.registry.borrow_mut();
                let relay = registry
                    .relay_of(channel)
                    .and_then(|at| registry.relay_at(at));
                if let Some(relay) = relay {
                    relay.hold.set(on);
                }
            }
        }
    }

    fn relay(&self, channel: ChannelId) -> Option<u32> {
        self.registry.borrow().relay_of(channel)
    }

    /// Takes a connection in as a relay member. Its seat is taken already: what the owner
    /// publishes from now on comes behind this message.
    fn adopt(self: &Rc<Self>, adoption: Adoption) {
        let Adoption {
            socket,
            identity,
            id,
            channel,
            replay,
            skip,
            held,
            early,
        } = adoption;
        let (peer, cid, conn) = (identity.peer, identity.cid, identity.conn);
        let stream = match tokio::net::TcpStream::from_std(socket) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%peer, channel = %Escaped(&channel), %error, "join failed");
                return self.request(
                    id.owner,
                    Request::Leave {
                        channel: id,
                        cid,
                        conn,
                    },
                );
            }
        };
        let mut registry = self.registry.borrow_mut();
        let settings = || self.common.channel_settings(&channel);
        let at = registry.relay_or_new(id, &channel, settings);
        let Some(relay) = registry.relay_at(at) else {
            return;
        };
        relay.hold.set(held);
        let (reader, conn) = Conn::new(
            stream,
            identity,
            Role::Client,
            relay.name.clone(),
            Home::Relayed(at),
            relay.hold.clone(),
            relay.settings.write_deadline,
        );
        let key = relay.local.insert(conn.id, conn.clone(), skip);
        conn.key.set(Some(key));
        relay.local.replay(key, replay);
        registry.list_if_dirty(Home::Relayed(at));
        drop(registry);
        self.wake_flusher();
        self.serve(conn.clone(), reader, early);
        if !self.is_running() {
            self.finish(&conn);
        }
    }
}
