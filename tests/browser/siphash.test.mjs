// SipHash against what the reference library and the authors of SipHash computed.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { joinKey, siphash } from "../../web/mles.js";

const VECTORS = JSON.parse(readFileSync(new URL("../data/vectors-v1.json", import.meta.url), "utf8"));

test("hashes are those of the reference library", () => {
  assert.ok(VECTORS.hashes.length > 0);
  for (const { strings, siphash: wanted } of VECTORS.hashes) {
    const bytes = Buffer.concat(strings.flatMap((text) => [Buffer.from(text), Buffer.from([0xff])]));
    assert.equal(siphash(bytes), wanted, strings.join("|"));
  }
});

/** Of Rust's crate siphasher 1.0.4, for lengths around a word and beyond a byte. */
const HASHES = [
  ["", "1e924b9d737700d7"],
  ["a", "96c20860cd93a249"],
  ["0123456", "58ecd586f7341fe1"],
  ["01234567", "4b9c5a69d9e4bdc2"],
  ["012345678", "d6fc26f1e2f845e5"],
  ["x".repeat(300), "c9234452a810cded"],
];

test("hashes are those of another implementation", () => {
  for (const [text, wanted] of HASHES) {
    assert.equal(siphash(new TextEncoder().encode(text)), wanted, text);
  }
});

test("the key of a join is the hash of key, name and channel, each with its end marked", () => {
  assert.equal(joinKey("alice", "room", "secret"), "ce578200007dfe9b");
  assert.equal(joinKey("åsa", "köket", "🔑 nyckel"), "fbe3e2d4e78ce0d7");
});

test("a hash has all of its digits", () => {
  assert.match(siphash(new TextEncoder().encode("640")), /^00[0-9a-f]{14}$/);
});
