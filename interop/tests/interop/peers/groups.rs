//! Our servers with one CID for all links: for each channel one of them has a link, the others stand
//! by.

use super::{Ours, join, messages_until};
use crate::support::{Secrets, Server, ServerKind, ServerSpec, Session};

on_each_server!(another_server_takes_over, each_channel_has_its_own_link,);

const CID: u32 = 0x00C0_FFEE;

fn group(root: &Server) -> [Server; 2] {
    [(); 2].map(|()| {
        let spec = ServerSpec::new(Ours).secrets(root.secrets());
        spec.peer(root.address()).peer_cid(CID).start()
    })
}

fn another_server_takes_over(kind: ServerKind) {
    for secrets in [Secrets::NONE, Secrets::SHARED, Secrets::ADDRESS] {
        let root = ServerSpec::new(kind).secrets(secrets).start();
        let [first, second] = group(&root);
        let mut above = join(&root, "above");
        above.send("hello");
        let mut member = join(&first, "member");
        assert_eq!(member.receive_message().text(), "hello");
        member.send("over the first");
        assert_eq!(above.receive_message().text(), "over the first");

        // Service goes on at the one without a link.
        let mut standing_by = join(&second, "standing by");
        second.wait_for_failed_link();
        let mut beside = join(&second, "beside");
        standing_by.send("among ourselves");
        assert_eq!(beside.receive_message().text(), "among ourselves");

        drop(first);
        assert_eq!(above.receive_message().text(), "among ourselves");
        above.send("down");
        for member in [&mut standing_by, &mut beside] {
            let messages = messages_until(member, "down");
            assert_eq!(messages, ["hello", "over the first", "down"]);
        }
        beside.send("up");
        assert_eq!(above.receive_message().text(), "up");
    }
}

fn each_channel_has_its_own_link(kind: ServerKind) {
    let root = ServerSpec::new(kind).secrets(Secrets::SHARED).start();
    let [first, second] = group(&root);
    let channels = [(&first, "one"), (&second, "another")];
    for (peer, channel) in channels {
        let join =
            |server: &Server, uid| Session::join(server.address(), server.secrets(), uid, channel);
        let mut above = join(&root, "above");
        above.send("hello");
        let mut below = join(peer, "below");
        assert_eq!(below.receive_message().text(), "hello");
        below.send("from below");
        assert_eq!(above.receive_message().text(), "from below");
    }
}
