//! Any bytes as a body: no panic, and what decodes survives being encoded again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mles::protocol::Message;

fuzz_target!(|body: &[u8]| {
    if let Ok(message) = Message::decode(body) {
        let mut again = Vec::new();
        message.encode_into(&mut again);
        // Ours is the shortest encoding.
        assert!(again.len() == message.body_len() && again.len() <= body.len());
        assert_eq!(Message::decode(&again), Ok(message));
    }
});
