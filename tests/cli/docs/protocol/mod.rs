//! Every example of docs/PROTOCOL.md is a test vector.
//!
//! | block | check |
//! | --- | --- |
//! | `frame`, `body` | shown item by item as they are; in the vectors file, which tests of the library read |
//! | `siphash` | each hash is that of the bytes, and the bytes are those of the strings |
//! | `json` | a notice as the server writes it, which has a frame as well |
//! | `tcp`, `websocket`, `http` | played with a server, in the order of the document |

mod annotate;
mod epochs;
mod exchange;
mod http;
mod times;
mod vectors;

use mles::protocol::{HEADER_LEN, NOTICE_MAGIC, Notice, decode_token};
use serde_json::Value;

use self::exchange::World;
use super::documents::{Block, blocks};

const DOCUMENT: &str = "docs/PROTOCOL.md";

/// What a block of the document may be, and whether it is played with a server.
const KINDS: [(&str, bool); 8] = [
    ("frame", false),
    ("body", false),
    ("siphash", false),
    ("json", false),
    ("tcp", true),
    ("websocket", true),
    ("http", true),
    ("sh", false),
];

fn blocks_of(kind: &str) -> Vec<Block> {
    let mut found = blocks(DOCUMENT);
    found.retain(|block| block.language == kind);
    assert!(!found.is_empty(), "{DOCUMENT} has no block of kind {kind}");
    found
}

/// Returns the bytes of the frames that the document shows, each with its place.
fn frames() -> Vec<(String, Vec<u8>)> {
    let shown = blocks_of("frame").into_iter();
    shown
        .map(|block| (block.place, annotate::bytes(&block.text)))
        .collect()
}

#[test]
fn every_block_is_of_a_kind_that_is_checked() {
    for block in blocks(DOCUMENT) {
        let is_known = KINDS.iter().any(|(kind, _)| *kind == block.language);
        assert!(is_known, "{}: nothing checks this block", block.place);
    }
}

#[test]
fn every_byte_is_told() {
    for block in blocks_of("frame") {
        let told = annotate::frame(&annotate::bytes(&block.text));
        assert_eq!(block.text, told, "{}: it has to be\n{told}", block.place);
    }
    for block in blocks_of("body") {
        let told = annotate::body(&annotate::bytes(&block.text));
        assert_eq!(block.text, told, "{}: it has to be\n{told}", block.place);
    }
}

#[test]
fn every_notice_in_json_is_as_the_server_writes_it() {
    let notices: Vec<_> = frames()
        .iter()
        .filter(|(_, frame)| frame[0] == NOTICE_MAGIC)
        // What clients say begins in the same way.
        .filter(|(_, frame)| decode_token(&frame[HEADER_LEN..]).is_err())
        .map(|(place, frame)| Notice::decode(frame).unwrap_or_else(|| panic!("{place}: no notice")))
        .collect();
    let written: Vec<_> = notices
        .iter()
        .map(|notice| serde_json::to_string(notice).unwrap())
        .collect();
    let shown = blocks_of("json");
    for block in &shown {
        let is_written = written
            .iter()
            .any(|written| *written == block.text.trim_end());
        assert!(
            is_written,
            "{}: no frame of it, as\n{written:#?}",
            block.place
        );
    }
    for written in &written {
        let is_shown = shown.iter().any(|block| block.text.trim_end() == *written);
        assert!(is_shown, "not shown in JSON: {written}");
    }
}

#[test]
fn every_hash_is_right() {
    for block in blocks_of("siphash") {
        for line in block.text.lines() {
            let hash = vectors::Hash::read(line);
            assert_eq!(hash.shown(), line, "{}", block.place);
        }
    }
}

/// The vectors are made from the document: `UPDATE_VECTORS=1` writes the file.
#[test]
fn the_vectors_are_those_of_the_document() {
    let file = super::checkout().join("tests/data/vectors-extensions.json");
    let made = vectors::of_document();
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(&made).unwrap();
        std::fs::write(&file, text + "\n").unwrap();
    }
    let text = std::fs::read_to_string(&file).unwrap();
    let kept: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(kept, made, "UPDATE_VECTORS=1 writes {}", file.display());
}

#[test]
fn every_exchange_happens_as_it_is_shown() {
    let mut world = World::new();
    for block in blocks(DOCUMENT) {
        if KINDS.contains(&(&block.language, true)) {
            world.play(&block);
        }
    }
    world.end_section();
}
