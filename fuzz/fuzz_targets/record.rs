//! Any bytes as a record of a fleet: no panic, and what decodes is what was encoded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mles::fuzzing::encode_again;
use xxhash_rust::xxh3::xxh3_64_with_seed;

fuzz_target!(|rest: &[u8]| {
    // With any other checksum nothing of it is read.
    let record = [&[1][..], &xxh3_64_with_seed(rest, 1).to_le_bytes(), rest].concat();
    if let Some(again) = encode_again(&record) {
        assert_eq!(again, record);
    }
});
