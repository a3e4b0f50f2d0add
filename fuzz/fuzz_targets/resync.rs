//! Any bytes as a resync body: no panic, and what decodes survives being encoded again.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use mles::protocol::{ResyncLimits, decode_resync, encode_resync, is_resync};

fuzz_target!(|body: &[u8]| {
    let limits = ResyncLimits {
        max_frames: 1000,
        max_body: 10_000,
    };
    if let Ok(frames) = decode_resync(&Bytes::copy_from_slice(body), limits) {
        assert!(is_resync(body) && !frames.is_empty());
        let (again, left_out) = encode_resync(&frames).expect("no longer than what came");
        assert_eq!(left_out, 0);
        assert_eq!(decode_resync(&again.into(), limits), Ok(frames));
    }
});
