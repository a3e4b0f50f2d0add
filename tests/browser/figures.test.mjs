// What the dashboard makes of counters: rates, growth, and figures as text.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as format from "../../web/admin/format.js";
import { ceiling } from "../../web/admin/plot.js";
import { Samples, SPAN } from "../../web/admin/samples.js";
import { answer } from "./support/admin.mjs";

/** Answers of a server whose counters are `totals`. */
function answers(totals, more = {}) {
  const server = { ...answer("server"), ...more };
  Object.assign(server.totals, totals);
  const shards = answer("shards");
  for (const { counters } of shards) Object.assign(counters, totals);
  return [server, shards];
}

test("rates are what counters grow by in the time between", () => {
  const samples = new Samples();
  samples.add(0, ...answers({ frames_in: 100, deliveries: 1_000 }));
  assert.equal(samples.now.published, null, "one sample makes no rate");
  samples.add(2_000, ...answers({ frames_in: 150, deliveries: 3_000 }));
  assert.equal(samples.now.published, 25);
  assert.deepEqual(samples.byShard.get(1), { published: 25, delivered: 1_000 });
});

test("a restart sets counters back, and makes no rate and no growth", () => {
  const samples = new Samples();
  samples.add(0, ...answers({ frames_in: 100, refused: 50 }));
  samples.add(1_000, ...answers({ frames_in: 200, refused: 60 }));
  assert.equal(samples.growth("refused"), 10);
  samples.add(2_000, ...answers({ frames_in: 5, refused: 1 }, { pid: 1 }));
  assert.equal(samples.now.published, null);
  assert.equal(samples.points.at(-2).values, null, "the line is broken");
  samples.add(3_000, ...answers({ frames_in: 15, refused: 3 }, { pid: 1 }));
  assert.equal(samples.now.published, 10);
  assert.equal(samples.growth("refused"), 2);
});

test("growth is counted for as long as is asked, and what is old is forgotten", () => {
  const samples = new Samples();
  for (let second = 0; second <= 700; second += 1) {
    samples.add(second * 1_000, ...answers({ refused: second }));
  }
  assert.equal(samples.growth("refused", 60_000), 60);
  assert.equal(samples.growth("refused"), SPAN / 1_000);
  assert.equal(samples.points.length, SPAN / 1_000 + 1);
});

test("a pause breaks the line", () => {
  const samples = new Samples();
  samples.add(0, ...answers({}));
  samples.add(60_000, ...answers({}));
  assert.deepEqual(samples.points.map(({ values }) => values === null), [false, true, false]);
});

test("samples in quick succession are one", () => {
  const samples = new Samples();
  samples.add(0, ...answers({ frames_in: 0 }));
  samples.add(20, ...answers({ frames_in: 90 }));
  samples.add(1_000, ...answers({ frames_in: 100 }));
  assert.equal(samples.points.length, 2);
  assert.equal(samples.now.published, 100);
});

test("an axis ends at a round number", () => {
  const tops = [0, 0.3, 1, 1.1, 2, 4.2, 37, 1_001].map((value) => ceiling(value, 1000));
  assert.deepEqual(tops, [1, 1, 1, 2, 2, 5, 50, 2_000]);
  assert.deepEqual([1_500, 1_048_576].map((value) => ceiling(value, 1024)), [2_048, 1_048_576]);
});

test("figures are short, and what is not known is a dash", () => {
  assert.deepEqual([0, 999, 9_999, 12_345, 1_234_567].map(format.number), ["0", "999", "9,999", "12.3k", "1.23M"]);
  assert.deepEqual([0, 0.25, 9.96, 4_210.5].map(format.rate), ["0", "0.3", "10", "4,211"]);
  assert.deepEqual([0, 512, 1_536, 47_185_920].map(format.bytes), ["0 B", "512 B", "1.50 KiB", "45 MiB"]);
  assert.deepEqual([180, 2_400, 1_500_000].map(format.micros), ["180 µs", "2.40 ms", "1.50 s"]);
  assert.deepEqual([0, 59, 3_600, 273_845].map(format.duration), ["0 s", "59 s", "1 h", "3 d 4 h"]);
  for (const show of [format.number, format.rate, format.bytes, format.byteRate, format.micros, format.duration, format.digits]) {
    for (const nothing of [null, undefined, NaN, Infinity]) assert.equal(show(nothing), format.UNKNOWN);
  }
});
