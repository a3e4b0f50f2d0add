//! Any bytes as a resync body: no panic, and what decodes survives being encoded again.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use mles::protocol::{
    MAX_BODY_LEN, ResyncLimits, decode_resync, encode_resync, is_resync, resync_join, resync_link,
};

fuzz_target!(|body: &[u8]| {
    let limits = ResyncLimits {
        max_frames: 1000,
        max_body: 10_000,
    };
    let _ = resync_link(body);
    if let Ok(resync) = decode_resync(&Bytes::copy_from_slice(body), limits) {
        assert!(is_resync(body) && !resync.frames.is_empty());
        if resync.link.is_some() {
            assert_eq!(resync_link(body), resync.link);
        }
        assert_eq!(resync_join(body, limits), Ok(&resync.frames[0].frame[..]));
        let again = encode_resync(&resync.frames, resync.link.as_ref(), MAX_BODY_LEN);
        let (again, left_out) = again.expect("no longer than what came");
        assert_eq!(left_out, 0);
        assert_eq!(decode_resync(&again.into(), limits), Ok(resync));
    }
});
