//! Any bytes as a read buffer: what is found is the same however the bytes come in, and the cheap
//! name check lets through exactly what decoding does.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mles::protocol::{
    BodyCheck, BodyPrefix, HEADER_LEN, MAX_BODY_LEN, Message, Stop, frames, scan,
};

fuzz_target!(|input: (usize, &[u8])| {
    let (split, buf) = input;
    let check = BodyCheck::Sender(BodyPrefix::new("u", "c"));
    let whole = scan(buf, MAX_BODY_LEN, &check);
    let run = &buf[..whole.run.len];
    assert_eq!(frames(run).count(), whole.run.frames);
    for frame in frames(run) {
        let message = Message::decode(&frame[HEADER_LEN..]).expect("checked by scan");
        assert_eq!((message.uid, message.channel), ("u", "c"));
    }

    let first = scan(&buf[..split % (buf.len() + 1)], MAX_BODY_LEN, &check);
    if matches!(first.stop, Stop::Bad(_)) {
        assert_eq!(first, whole);
    } else {
        let rest = scan(&buf[first.run.len..], MAX_BODY_LEN, &check);
        assert_eq!(first.run.len + rest.run.len, whole.run.len);
        assert_eq!(first.run.frames + rest.run.frames, whole.run.frames);
    }
});
