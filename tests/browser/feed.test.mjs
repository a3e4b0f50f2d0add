// When a history is taken to be over, and what is shown of it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Feed, KEPT, KEPT_BYTES } from "../../web/feed.js";

const PAUSE = 300; // milliseconds, longer than the one that ends a history

const entry = (uid, text) => ({ uid, message: new TextEncoder().encode(text) });

/** Replaces the clock and its timers until the test is over; the result moves it. */
function ownClock(t) {
  const real = { setTimeout, clearTimeout, now: Date.now };
  t.after(() => {
    Object.assign(globalThis, { setTimeout: real.setTimeout, clearTimeout: real.clearTimeout });
    Date.now = real.now;
  });
  let now = 0;
  let timers = [];
  Date.now = () => now;
  globalThis.setTimeout = (run, wait) => {
    const timer = { run, at: now + wait };
    timers.push(timer);
    return timer;
  };
  globalThis.clearTimeout = (timer) => {
    timers = timers.filter((other) => other !== timer);
  };
  return (time) => {
    const end = now + time;
    for (;;) {
      const due = timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      clearTimeout(due);
      now = due.at;
      due.run();
    }
    now = end;
  };
}

/** A feed over a clock that the test moves, and what it showed. */
function feed(t) {
  const pass = ownClock(t);
  const shown = [];
  const settled = [];
  const subject = new Feed(
    (entries, isHistory) => {
      for (const { uid, message } of entries) {
        shown.push(`${isHistory ? "history" : "live"} ${uid}:${new TextDecoder().decode(message)}`);
      }
    },
    () => settled.push(shown.length),
  );
  return { subject, shown, settled, pass };
}

test("what comes at first is history, what comes after a pause is live", (t) => {
  const { subject, shown, settled, pass } = feed(t);
  subject.begin("me", 0);
  subject.take(entry("a", "1"));
  subject.take(entry("a", "2"));
  assert.deepEqual(shown, []);
  pass(PAUSE);
  assert.deepEqual(settled, [2]);
  subject.take(entry("a", "3"));
  assert.deepEqual(shown, ["history a:1", "history a:2", "live a:3"]);
});

test("a far server gets more time to begin", (t) => {
  const { subject, settled, pass } = feed(t);
  subject.begin("me", 1_000);
  pass(1_000);
  assert.deepEqual(settled, []);
  pass(PAUSE);
  assert.deepEqual(settled, [0]);
});

test("a reconnection shows what was missed and nothing twice", (t) => {
  const { subject, shown, pass } = feed(t);
  subject.begin("me", 0);
  subject.take(entry("a", "1"));
  pass(PAUSE);
  subject.sent({ ...entry("me", "2"), own: true });
  subject.end();
  subject.begin("me", 0);
  ["a:1", "me:2", "b:3"].forEach((text) => subject.take(entry(...text.split(":"))));
  pass(PAUSE);
  assert.deepEqual(shown, ["history a:1", "live me:2", "history b:3"]);
});

test("a channel that never pauses is shown all the same", (t) => {
  const { subject, shown, settled, pass } = feed(t);
  subject.begin("me", 0);
  for (let at = 0; at < 100; at += 1) {
    subject.take(entry("a", String(at)));
    pass(50);
  }
  assert.equal(settled.length, 1);
  assert.equal(shown.length, 100);
});

test("a long replay of what is known is not taken for news", (t) => {
  const { subject, shown, pass } = feed(t);
  subject.begin("me", 0);
  for (let at = 0; at < 100; at += 1) {
    subject.take(entry("a", String(at)));
  }
  pass(PAUSE);
  subject.end();
  subject.begin("me", 0);
  for (let at = 0; at < 100; at += 1) {
    subject.take(entry("a", String(at)));
    pass(100);
  }
  pass(PAUSE);
  assert.equal(shown.length, 100);
});

test("what was held back when a connection broke is shown, once", (t) => {
  const { subject, shown, pass } = feed(t);
  for (const _ of ["first", "second"]) {
    subject.begin("me", 0);
    subject.take(entry("a", "1"));
    subject.take(entry("a", "2"));
    subject.end();
  }
  pass(PAUSE);
  assert.deepEqual(shown, ["history a:1", "history a:2"]);
});

test("those who join are no part of a history", (t) => {
  const { subject, shown, pass } = feed(t);
  for (const _ of ["first", "second"]) {
    subject.begin("me", 0);
    subject.take(entry("a", "1"));
    subject.take(entry("b", ""));
    pass(PAUSE);
    subject.end();
  }
  assert.deepEqual(shown, ["history a:1", "history b:", "history b:"]);
});

test("the bytes that are remembered are bounded", (t) => {
  const { subject, shown, pass } = feed(t);
  subject.begin("me", 0);
  pass(PAUSE);
  const large = Array.from({ length: 10 }, () => ({ uid: "a", message: new Uint8Array(KEPT_BYTES / 4) }));
  large.forEach((one) => subject.take(one));
  subject.take({ uid: "a", message: new Uint8Array(2 * KEPT_BYTES) });
  assert.equal(shown.length, 11);
  subject.end();
  subject.begin("me", 0);
  subject.take(entry("a", "1"));
  pass(PAUSE);
  assert.equal(shown.at(-1), "history a:1");
});

test("after many messages a replay of the last ones is still known", (t) => {
  const { subject, shown, pass } = feed(t);
  subject.begin("me", 0);
  pass(PAUSE);
  const said = Array.from({ length: KEPT + 500 }, (_, at) => entry("a", String(at)));
  said.forEach((one) => subject.take(one));
  subject.end();
  subject.begin("me", 0);
  said.forEach((one) => subject.take({ ...one }));
  subject.take(entry("a", "new"));
  pass(PAUSE);
  assert.equal(shown.length, KEPT + 501);
  assert.equal(shown.at(-1), "history a:new");
});
