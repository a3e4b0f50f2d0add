//! Connections that stay on the shard that accepted them while their session gets a seat, perhaps on
//! another shard.

use std::convert::Infallible;
use std::rc::Rc;

use tokio::sync::oneshot;

use super::Shard;
use super::ended::Ended;
use super::farewell::{close_with, refusal_notice};
use super::layered::Layered;
use super::message::{Arrival, Early, Socket};
use super::refusal::Refusal;
use super::session::Session;
use super::stream::{StreamReader, StreamWriter};

/// A connection that stays where it is.
#[derive(Debug)]
pub(crate) struct Parked {
    layered: Rc<Layered>,
    /// Takes the session once it has a seat, or why it has none.
    seated: oneshot::Sender<Result<Rc<Session>, Refusal>>,
}

/// Where a session goes once it has joined: to a task of its own, or to the caller that waits for it.
pub(super) enum AfterJoin {
    /// To a task of its own.
    Serve(StreamReader, Early),
    /// To the caller that waits for it.
    Tell(oneshot::Sender<Result<Rc<Session>, Refusal>>),
}

impl Shard {
    /// Gets a seat for a session whose connection stays on this shard.
    ///
    /// Not cancel safe: dropped, it leaves a session that nobody serves until its connection ends.
    ///
    /// # Errors
    ///
    /// There is no seat for it.
    pub(crate) async fn join_in_place(
        self: &Rc<Self>,
        arrival: Arrival<Rc<Layered>>,
    ) -> Result<Rc<Session>, Refusal> {
        let (seated, seat) = oneshot::channel();
        let Ok(arrival) = arrival
            .try_map(|layered| Ok::<_, Infallible>(Socket::Parked(Parked { layered, seated })));
        self.route(arrival);
        let failed = || Refusal::Io(std::io::ErrorKind::ConnectionAborted.into());
        seat.await.unwrap_or_else(|_| Err(failed()))
    }

    /// Gets a seat for a session of frames whose connection stays on this shard, and serves it.
    pub(crate) async fn serve_in_place(self: &Rc<Self>, mut arrival: Arrival<Rc<Layered>>) {
        let early = std::mem::take(&mut arrival.early);
        let (layered, asks) = (arrival.socket.clone(), arrival.resume.is_some());
        match self.join_in_place(arrival).await {
            Ok(session) => self.serve(session, StreamReader::Layered(layered), early),
            // Counted and logged where it was refused.
            Err(refusal) => close_with(layered, asks.then(|| refusal_notice(&refusal))).await,
        }
    }

    /// Has a session that has its seat served.
    pub(super) fn begin(self: &Rc<Self>, session: Rc<Session>, then: AfterJoin) {
        self.count_session(&session);
        self.end_in_time(&session);
        self.refresh_newcomer(&session);
        self.tell_ttl(&session);
        match then {
            AfterJoin::Serve(reader, early) => self.serve(session, reader, early),
            AfterJoin::Tell(seated) => {
                if let Err(Ok(session)) = seated.send(Ok(session)) {
                    self.end(&session, Ended::Stopping);
                }
            }
        }
    }
}

impl Socket {
    /// Returns the sending side, and where the session goes once it has joined.
    pub(super) fn seat(self, early: Early) -> std::io::Result<(StreamWriter, AfterJoin)> {
        match self {
            Self::Parked(kept) => Ok(kept.seat()),
            socket => {
                let (reader, writer) = socket.attach()?;
                Ok((writer, AfterJoin::Serve(reader, early)))
            }
        }
    }
}

impl Parked {
    /// Says why there is no seat.
    pub(super) fn refuse(self, why: Refusal) {
        // Nobody waits for it when the connection is gone.
        let _ = self.seated.send(Err(why));
    }

    /// See [`Socket::seat`].
    pub(super) fn seat(self) -> (StreamWriter, AfterJoin) {
        self.layered.take_seat();
        let writer = StreamWriter::Layered(self.layered);
        (writer, AfterJoin::Tell(self.seated))
    }
}
