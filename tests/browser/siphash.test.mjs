// SipHash against what the reference library and the authors of SipHash computed.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { hex, joinKey, siphash } from "../../web/siphash.js";

const VECTORS = JSON.parse(readFileSync(new URL("../data/vectors-v1.json", import.meta.url), "utf8"));

test("hashes are those of the reference library", () => {
  assert.ok(VECTORS.hashes.length > 0);
  for (const { strings, siphash: wanted } of VECTORS.hashes) {
    const bytes = Buffer.concat(strings.flatMap((text) => [Buffer.from(text), Buffer.from([0xff])]));
    assert.equal(hex(siphash(bytes)), wanted, strings.join("|"));
  }
});
