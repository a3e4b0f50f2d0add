// What of a replayed history is shown.

import assert from "node:assert/strict";
import { test } from "node:test";
import { unseen } from "../../web/history.js";

/** `"bob:hi me:ho"` as entries. */
const entries = (text) =>
  text
    .split(" ")
    .filter(Boolean)
    .map((word) => {
      const [uid, message] = word.split(":");
      return { uid, message: new TextEncoder().encode(message) };
    });

function news(shown, incoming, options = {}) {
  const result = unseen(entries(shown), entries(incoming), { mine: new Set(["me"]), ...options });
  return result.map(({ uid, message }) => `${uid}:${new TextDecoder().decode(message)}`).join(" ");
}

test("everything is new where nothing is shown", () => {
  assert.equal(news("", "a:1 me:2 b:3"), "a:1 me:2 b:3");
});

test("the same history again brings nothing", () => {
  assert.equal(news("a:1 b:2 me:3 a:4", "a:1 b:2 me:3 a:4"), "");
});

test("what was missed is new", () => {
  assert.equal(news("a:1 b:2", "a:1 b:2 c:3 a:4"), "c:3 a:4");
});

test("a window that has moved on overlaps with the end of what is shown", () => {
  assert.equal(news("a:1 b:2 c:3", "b:2 c:3 d:4"), "d:4");
});

test("all is new when the window has moved past what is shown", () => {
  assert.equal(news("a:1 b:2", "c:3 d:4"), "c:3 d:4");
});

test("a restarted server without a history hides nothing that is said again", () => {
  // "a:1" was said before too, but not at the end.
  assert.equal(news("a:1 b:2", "a:1"), "a:1");
  assert.equal(news("a:1 b:2 c:3", "b:2 a:9"), "b:2 a:9");
});

test("equal messages are told apart by their number", () => {
  assert.equal(news("a:x a:x", "a:x a:x a:x"), "a:x");
});

test("one's own messages may stand elsewhere in the channel's order", () => {
  assert.equal(news("me:1 a:2 b:3", "a:2 me:1 b:3 c:4"), "c:4");
  assert.equal(news("a:2 b:3 me:1", "me:1 a:2 b:3"), "");
});

test("one's own message that was lost does not hide what follows", () => {
  assert.equal(news("a:1 me:lost", "a:1 b:2"), "b:2");
});

test("what one said on another device meanwhile is new", () => {
  assert.equal(news("a:1 me:2", "a:1 me:2 me:3 b:4"), "me:3 b:4");
});

test("a channel with nobody else in it", () => {
  assert.equal(news("me:1 me:2", "me:1 me:2"), "");
  assert.equal(news("me:1 me:1", "me:1 me:1 me:1"), "me:1");
});

test("a history that is longer than what is kept is known up to its end", () => {
  assert.equal(news("c:3 d:4", "a:1 b:2 c:3 d:4 e:5", { trimmed: true }), "e:5");
  assert.equal(news("c:3 d:4", "a:1 me:0 c:3 d:4 e:5", { trimmed: true }), "e:5");
});

test("a part of a replay is known where it is in what is shown", () => {
  assert.equal(news("a:1 b:2 c:3 d:4", "b:2 c:3", { partial: true }), "");
  assert.equal(news("a:1 b:2 c:3", "b:2 c:3 d:4", { partial: true }), "d:4");
});

test("a message of another sender is another message", () => {
  assert.equal(news("a:1", "b:1"), "b:1");
});

test("messages are compared as bytes", () => {
  const entry = (...message) => ({ uid: "a", message: new Uint8Array(message) });
  const other = unseen([entry(1, 2)], [entry(1, 3)], { mine: new Set() });
  assert.equal(other.length, 1);
});
