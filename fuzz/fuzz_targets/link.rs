//! Any bytes as a link notice: no panic, and what decodes survives being encoded again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mles::protocol::{FrameHeader, HEADER_LEN, LinkNotice};

fuzz_target!(|frame: &[u8]| {
    let Ok(Some(header)) = FrameHeader::decode(frame) else {
        return;
    };
    let link = header.key.0;
    if let Some(notice) = LinkNotice::decode(frame, link) {
        assert_eq!(header.body_len, frame.len() - HEADER_LEN);
        let again = notice.encode(link, header.cid);
        assert!(again.len() <= frame.len());
        assert_eq!(LinkNotice::decode(&again, link), Some(notice));
    }
});
