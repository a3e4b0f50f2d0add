//! Connections that stay on the shard that accepted them while their session gets a seat, perhaps on
//! another shard.

use std::convert::Infallible;
use std::rc::Rc;

use tokio::sync::oneshot;

use super::Shard;
use super::conn::{Conn, Ended};
use super::layered::Layered;
use super::message::{Arrival, Early, Socket};
use super::refused::Refused;
use super::wire::{Reader, Wire};
use crate::channel::Form;

/// A connection that stays where it is.
#[derive(Debug)]
pub(crate) struct Kept {
    layered: Rc<Layered>,
    form: Form,
    /// Takes the session once it has a seat, or why it has none.
    seated: oneshot::Sender<Result<Rc<Conn>, Refused>>,
}

/// Who serves a session once it has its seat.
pub(super) enum Then {
    /// A task of its own.
    Serve(Reader, Early),
    /// Whoever waits for it.
    Tell(oneshot::Sender<Result<Rc<Conn>, Refused>>),
}

impl Shard {
    /// Gets a seat for a session whose connection stays on this shard.
    ///
    /// Not cancel safe: dropped, it leaves a session that nobody serves until its connection ends.
    ///
    /// # Errors
    ///
    /// There is no seat for it.
    pub(super) async fn seat_kept(
        self: &Rc<Self>,
        arrival: Arrival<Rc<Layered>>,
        form: Form,
    ) -> Result<Rc<Conn>, Refused> {
        let (seated, seat) = oneshot::channel();
        let Ok(arrival) = arrival.try_map(|layered| {
            Ok::<_, Infallible>(Socket::Kept(Kept {
                layered,
                form,
                seated,
            }))
        });
        self.route(arrival);
        let failed = || Refused::Socket(std::io::ErrorKind::ConnectionAborted.into());
        seat.await.unwrap_or_else(|_| Err(failed()))
    }

    /// Gets a seat for a session of frames whose connection stays on this shard, and serves it.
    pub(crate) async fn serve_kept(self: &Rc<Self>, mut arrival: Arrival<Rc<Layered>>) {
        let early = std::mem::take(&mut arrival.early);
        let layered = arrival.socket.clone();
        match self.seat_kept(arrival, Form::Frames).await {
            Ok(conn) => self.serve(conn, Reader::Layered(layered), early),
            // Counted and logged where it was refused.
            Err(_) => layered.shut_down_write(),
        }
    }

    /// Has a session that has its seat served.
    pub(super) fn begin(self: &Rc<Self>, conn: Rc<Conn>, then: Then) {
        match then {
            Then::Serve(reader, early) => self.serve(conn, reader, early),
            Then::Tell(seated) => {
                if let Err(Ok(conn)) = seated.send(Ok(conn)) {
                    self.end(&conn, Ended::Stopping);
                }
            }
        }
    }
}

impl Socket {
    /// The sending side, what is queued for it, and what is to be done with the rest.
    pub(super) fn seat(self, early: Early) -> std::io::Result<(Wire, Form, Then)> {
        match self {
            Self::Kept(kept) => Ok(kept.seat()),
            socket => {
                let (reader, wire) = socket.attach()?;
                Ok((wire, Form::Frames, Then::Serve(reader, early)))
            }
        }
    }
}

impl Kept {
    /// Says why there is no seat.
    pub(super) fn refuse(self, why: Refused) {
        // Nobody waits for it when the connection is gone.
        let _ = self.seated.send(Err(why));
    }

    /// See [`Socket::seat`].
    pub(super) fn seat(self) -> (Wire, Form, Then) {
        self.layered.take_seat();
        let wire = Wire::Layered(self.layered);
        (wire, self.form, Then::Tell(self.seated))
    }
}
