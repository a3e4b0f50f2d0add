//! What a server tells of its store: how much is on disk, and how far an order goes on from another.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use mles::protocol::{Cid, Epoch, Position};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::http::Http;
use crate::log::Event;
use crate::notice::Notice;
use crate::shared::Shared;
use crate::wire::{Ask, Frames, Input, Resume, Wire as _, uid_of};

/// Beyond every message of a run.
const FAR: u64 = 1 << 40;

/// Writes down how many batches are on disk, for as long as the run lasts.
pub async fn watch(shared: Rc<Shared>, actor: usize, mut admin: Http) {
    loop {
        let server = shared.server.get();
        let request = b"GET /api/server HTTP/1.1\r\nHost: localhost\r\n\r\n";
        if server.is_some()
            && let Ok((200, body)) = admin.ask(request).await
            // Another server counts anew.
            && shared.server.get() == server
        {
            let body: Value = serde_json::from_slice(&body).unwrap();
            let batches = body["store"]["batches"].as_u64().unwrap();
            shared.log(actor, Event::Written(batches));
        }
        sleep(Duration::from_millis(2)).await;
    }
}

/// Returns the offset up to which the order that a server has now has the messages of the order `epoch`.
pub async fn end_of(epoch: Epoch, server: SocketAddr, actor: usize) -> u64 {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let mut wire = Frames::new();
    let resume = Resume {
        since: Some(Position { epoch, offset: FAR }),
        publisher: None,
        members: None,
    };
    let ask = Ask {
        uid: uid_of(actor),
        cid: Cid(1 << 30),
        resume: Some(resume),
    };
    stream.write_all(&wire.open(&ask)).await.unwrap();
    let mut bytes = Vec::new();
    loop {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "let in");
        if let Some(Input::Notice(Notice::Welcome(welcome))) =
            wire.take(&mut bytes, &mut Vec::new()).unwrap()
        {
            return welcome.position.offset - welcome.replay;
        }
    }
}
