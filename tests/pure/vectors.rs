//! Reads the files of vectors in tests/data.

use serde_json::Value;

/// The part of a vectors file called `name`; never empty.
pub fn vectors(file: &str, name: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(file).unwrap();
    let part = all[name].as_array().unwrap().clone();
    assert!(!part.is_empty());
    part
}

pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap()
}

pub fn unhex(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2));
    (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
        .collect()
}
