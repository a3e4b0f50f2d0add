// The module for JavaScript against a stand-in for the server, which forgets and breaks off on command.

import assert from "node:assert/strict";
import { test } from "node:test";
import { joinKey } from "../../web/mles.js";
import { Reader, joining, member } from "./support/channels.mjs";
import { startGateway } from "./support/gateway.mjs";

/** A test with a stand-in; `body` gets it, and what joins its channel. */
function withGateway(name, body) {
  test(name, { timeout: 60_000 }, async (t) => {
    const gateway = await startGateway();
    t.after(() => gateway.stop());
    const enter = (options) => member(t, gateway.address, options);
    const begin = (options) => joining(t, gateway.address, options);
    await body(gateway, { enter, begin, t });
  });
}

const offsets = (messages) => messages.map(({ position }) => Number(position.split(":")[1]));

/** What has become of promises: their values, or the codes of their errors. */
const fates = async (promises) =>
  (await Promise.allSettled(promises)).map(({ value, reason }) => (reason ? reason.code : value));

withGateway("a member gets the history first, then what is new, each with its position", async (gateway, { enter }) => {
  gateway.say("bob", "room", "one");
  gateway.say("bob", "room", "two");
  const alice = new Reader(await enter());
  await alice.nth("live", 1);
  gateway.say("bob", "room", "three");
  await alice.nth("message", 3);
  assert.deepEqual(alice.messages, ["bob: one", "bob: two", "bob: three"]);
  assert.deepEqual(alice.all("message").map(({ replayed }) => replayed), [true, true, false]);
  assert.deepEqual(offsets(alice.all("message")), [1, 2, 3]);
  const types = alice.events.map(({ type }) => type);
  assert.deepEqual(types, ["connecting", "joined", "message", "message", "live", "message"]);
  const [joined] = alice.all("joined");
  assert.deepEqual([joined.replay, joined.recovered, joined.missed], [2, true, 0]);
  assert.equal(alice.channel.position, alice.all("message")[2].position);
});

withGateway("publishing is answered with the position", async (gateway, { enter }) => {
  const [alice, bob] = [await enter(), new Reader(await enter({ uid: "bob" }))];
  const position = await alice.publish("hello");
  const bytes = new Uint8Array([0xff, 0x00]);
  const promise = alice.publish(bytes);
  bytes[0] = 1; // what was published is what was there at the call
  const next = await promise;
  await bob.nth("message", 2);
  const [first, second] = bob.all("message");
  assert.deepEqual([first.text, first.position], ["hello", position]);
  assert.deepEqual([[...second.data], second.text, second.position], [[0xff, 0x00], null, next]);
});

withGateway("after a break a member gets what it missed, once", async (gateway, { enter }) => {
  gateway.say("bob", "room", "one");
  const alice = new Reader(await enter());
  await alice.channel.publish("two");
  const { port } = gateway;
  await gateway.stop();
  const { reason, code, retryAt } = await alice.nth("disconnected", 1);
  assert.deepEqual([reason, code, typeof retryAt], ["The connection broke.", 1006, "number"]);
  gateway.say("bob", "room", "three");
  gateway.say("bob", "room", "four");
  await gateway.start(port);
  await alice.nth("live", 2);
  gateway.say("bob", "room", "five");
  await alice.nth("message", 4);
  assert.deepEqual(alice.messages, ["bob: one", "bob: three", "bob: four", "bob: five"]);
  assert.deepEqual(offsets(alice.all("message")), [1, 3, 4, 5]);
  const [, { replay, recovered, missed }] = alice.all("joined");
  assert.deepEqual([replay, recovered, missed], [2, true, 0]);
});

withGateway("a member resumes where an earlier one stopped", async (gateway, { enter }) => {
  ["one", "two", "three"].forEach((text) => gateway.say("bob", "room", text));
  const first = new Reader(await enter());
  const { position } = await first.nth("message", 2);
  const second = new Reader(await enter({ since: position }));
  await second.nth("live", 1);
  assert.deepEqual(second.messages, ["bob: three"]);
});

withGateway("nothing received before a break is no reason to miss something", async (gateway, { enter }) => {
  const alice = new Reader(await enter());
  await alice.nth("live", 1);
  const { port } = gateway;
  await gateway.stop();
  await alice.nth("disconnected", 1);
  gateway.say("bob", "room", "first");
  await gateway.start(port);
  await alice.nth("message", 1);
  assert.deepEqual(alice.messages, ["bob: first"]);
  assert.equal(alice.all("joined")[1].recovered, true);
});

withGateway("what is gone is told with its number", async (gateway, { enter }) => {
  gateway.keeps = 2;
  const alice = new Reader(await enter());
  await gateway.until(() => gateway.members("room") === 1);
  const { port } = gateway;
  await gateway.stop();
  ["one", "two", "three", "four", "five"].forEach((text) => gateway.say("bob", "room", text));
  await gateway.start(port);
  await alice.nth("live", 2);
  const { replay, recovered, missed } = alice.all("joined")[1];
  assert.deepEqual([replay, recovered, missed], [2, false, 3]);
  assert.deepEqual(alice.messages, ["bob: four", "bob: five"]);
  assert.deepEqual(offsets(alice.all("message")), [4, 5]);
});

withGateway("a server that has forgotten everything says so", async (gateway, { enter }) => {
  gateway.say("bob", "room", "old");
  const alice = new Reader(await enter());
  await alice.nth("live", 1);
  gateway.forget();
  gateway.say("bob", "room", "new");
  await alice.nth("message", 2);
  gateway.cut();
  await alice.nth("live", 2);
  const { recovered, missed } = alice.all("joined")[1];
  assert.deepEqual([recovered, missed], [false, null]);
  assert.deepEqual(alice.messages, ["bob: old", "bob: new", "bob: new"]);
});

withGateway("what had no receipt is published once, and gets its position", async (gateway, { enter }) => {
  const alice = new Reader(await enter());
  assert.equal(offsets([{ position: await alice.channel.publish("a") }])[0], 1);
  gateway.hasReceipts = false;
  const taken = [alice.channel.publish("b"), alice.channel.publish("c")];
  await gateway.until(() => gateway.kept("room").length === 3);
  const { port } = gateway;
  await gateway.stop();
  await alice.nth("disconnected", 1);
  gateway.say("bob", "room", "between");
  const waiting = [alice.channel.publish("d"), alice.channel.publish("c")];
  gateway.hasReceipts = true;
  await gateway.start(port);
  const positions = await Promise.all([...taken, ...waiting]);
  assert.deepEqual(gateway.kept("room"), ["a", "b", "c", "between", "d", "c"]);
  assert.deepEqual(offsets(positions.map((position) => ({ position }))), [2, 3, 5, 6]);
  const replayed = alice.all("message").map(({ text, own }) => [text, own]);
  assert.deepEqual(replayed.slice(-3), [["b", true], ["c", true], ["between", false]]);
});

withGateway("what has its place and is no longer kept is confirmed without a position", async (gateway, { enter }) => {
  const alice = new Reader(await enter());
  gateway.hasReceipts = false;
  const published = [alice.channel.publish("gone"), alice.channel.publish("kept")];
  await gateway.until(() => gateway.kept("room").length === 2);
  gateway.keeps = 2;
  gateway.say("bob", "room", "last");
  gateway.cut();
  const [gone, kept] = await Promise.all(published);
  assert.deepEqual([gone, offsets([{ position: kept }])[0]], [null, 2]);
});

for (const [what, forget] of [
  ["publishers", (gateway) => gateway.forgetPublishers()],
  ["everything", (gateway) => gateway.forget()],
]) {
  withGateway(`a message is not repeated where the server has forgotten ${what}`, async (gateway, { enter }) => {
    const alice = new Reader(await enter());
    gateway.hasReceipts = false;
    const sent = fates([alice.channel.publish("sent")]);
    await gateway.until(() => gateway.kept("room").length === 1);
    const { port } = gateway;
    await gateway.stop();
    await alice.nth("disconnected", 1);
    const waiting = alice.channel.publish("not sent");
    forget(gateway);
    gateway.hasReceipts = true;
    await gateway.start(port);
    const [[fate], position] = [await sent, await waiting];
    assert.equal(fate, "unconfirmed");
    assert.match(position, /^[0-9a-f]{16}:[12]$/);
    assert.deepEqual(gateway.kept("room").filter((text) => text === "sent").length <= 1, true);
    // What follows is confirmed as ever.
    assert.ok(await alice.channel.publish("next"));
  });
}

withGateway("a server without positions is joined all the same", async (gateway, { enter }) => {
  gateway.hasPositions = false;
  gateway.say("bob", "room", "before");
  const alice = new Reader(await enter());
  assert.equal(await alice.channel.publish("hello"), null);
  await gateway.until(() => gateway.kept("room").length === 2);
  gateway.say("bob", "room", "after");
  await alice.nth("message", 2);
  const [joined] = alice.all("joined");
  assert.deepEqual([joined.position, joined.replay, joined.recovered, joined.missed], [null, null, null, null]);
  const { position, replayed } = alice.all("message")[1];
  assert.deepEqual([position, replayed, alice.channel.position], [null, null, null]);
  assert.equal(alice.all("live").length, 0);
});

withGateway("silence is a yes of a server without positions", async (gateway, { enter }) => {
  gateway.hasPositions = false;
  const alice = await enter();
  assert.deepEqual([alice.state, alice.position], ["joined", null]);
});

withGateway("a server that is slow to welcome is not taken for one without positions for long", async (gateway, { enter }) => {
  gateway.say("bob", "room", "before");
  let release;
  gateway.delay = new Promise((resolve) => (release = resolve));
  const alice = new Reader(await enter());
  assert.equal(await alice.channel.publish("early"), null);
  release();
  await alice.nth("live", 1);
  assert.ok(await alice.channel.publish("late"));
  assert.deepEqual(gateway.kept("room"), ["before", "early", "late"]);
  assert.deepEqual(alice.messages, ["bob: before", "alice: early"]);
});

withGateway("a server that was replaced by one without positions is joined all the same", async (gateway, { enter }) => {
  const alice = new Reader(await enter());
  await alice.channel.publish("one");
  gateway.hasReceipts = false;
  const sent = fates([alice.channel.publish("two")]);
  await gateway.until(() => gateway.kept("room").length === 2);
  gateway.hasPositions = false;
  gateway.cut();
  assert.deepEqual(await sent, ["unconfirmed"]);
  assert.equal(await alice.channel.publish("three"), null);
  assert.equal(alice.all("joined")[1].position, null);
});

withGateway("gaps are told and counted", async (gateway, { enter }) => {
  const alice = new Reader(await enter());
  gateway.say("bob", "room", "one");
  await alice.nth("message", 1);
  gateway.notify("room", { gap: { missed: 7 } });
  gateway.say("bob", "room", "nine");
  await alice.nth("message", 2);
  const [gap] = alice.all("gap");
  assert.deepEqual([gap.missed, gap.members, ...offsets([gap])], [7, false, 8]);
  assert.equal(offsets(alice.all("message"))[1], 9);
});

withGateway("of many messages at once all get their position, unless others are between them", async (gateway, { enter }) => {
  const alice = await enter();
  gateway.hasReceipts = false;
  const [epoch] = alice.position.split(":");
  const three = [1, 2, 3].map((at) => alice.publish(`${at}`));
  gateway.notify("room", { receipt: { count: 3, position: `${epoch}:13` } });
  assert.deepEqual(await Promise.all(three), [`${epoch}:11`, `${epoch}:12`, `${epoch}:13`]);
  const two = [4, 5].map((at) => alice.publish(`${at}`));
  gateway.notify("room", { gap: { missed: 5 } });
  gateway.notify("room", { receipt: { count: 2, position: `${epoch}:20` } });
  assert.deepEqual(await Promise.all(two), [null, `${epoch}:20`]);
});

withGateway("hints of presence are events, and take no place", async (gateway, { enter }) => {
  const alice = new Reader(await enter());
  await alice.nth("live", 1);
  gateway.say("bob", "room", "");
  gateway.say("bob", "room", "hello");
  await alice.nth("message", 1);
  assert.deepEqual(alice.all("presence").map(({ uid }) => uid), ["bob"]);
  assert.deepEqual(offsets(alice.all("message")), [1]);
});

withGateway("who is there is known from the join on", async (gateway, { enter }) => {
  await enter({ uid: "bob" });
  const alice = new Reader(await enter({ members: 3 }));
  await alice.nth("members", 1);
  assert.deepEqual(alice.channel.members, { count: 2, uids: ["bob", "alice"], complete: true });
  const carol = await enter({ uid: "carol" });
  await enter({ uid: "dave" });
  await alice.nth("members", 3);
  assert.deepEqual(alice.all("members")[1].joined, ["carol"]);
  assert.deepEqual(alice.channel.members, { count: 4, uids: ["bob", "alice", "carol"], complete: false });
  carol.close();
  await alice.nth("members", 4);
  assert.deepEqual(alice.all("members")[3].left, ["carol"]);
  assert.deepEqual(alice.channel.members, { count: 3, uids: ["bob", "alice"], complete: false });
  gateway.notify("room", { gap: { missed: 0, members: true } });
  gateway.notify("room", { changes: { count: 2, joined: [], left: [] } });
  await alice.nth("members", 5);
  assert.equal(alice.channel.members.complete, false, "a name may be wrong");
});

withGateway("a refusal is an error that says why", async (gateway, { enter, begin }) => {
  gateway.refuse = () => [1008, "this channel is full"];
  await assert.rejects(enter(), { name: "MlesError", code: "refused", closeCode: 1008, message: "this channel is full" });
  const alice = new Reader(begin());
  await alice.until(() => alice.isOver);
  assert.deepEqual([alice.error.code, alice.channel.state], ["refused", "closed"]);
  await assert.rejects(alice.channel.publish("hello"), { code: "closed" });
});

withGateway("a refusal after a break ends what waits", async (gateway, { enter }) => {
  const alice = new Reader(await enter());
  gateway.hasReceipts = false;
  const sent = fates([alice.channel.publish("hello")]);
  gateway.refuse = () => [4401, "Unauthorized"];
  gateway.cut();
  await alice.until(() => alice.isOver);
  assert.deepEqual([alice.error.closeCode, alice.error.message], [4401, "This server needs a key."]);
  assert.deepEqual(await sent, ["refused"]);
});

withGateway("only the hash of a key is sent", async (gateway, { enter }) => {
  let seen = "";
  gateway.refuse = (_, url) => {
    seen = url;
    return null;
  };
  await enter({ key: "secret", url: `http://${gateway.address}/below/?a=b#c` });
  assert.equal(seen, `/below/?a=b&auth=${joinKey("alice", "room", "secret")}`);
});

withGateway("a server that cannot be reached is an error at first, and waited for by who wants that", async (gateway, { enter, begin }) => {
  const { port } = gateway;
  await gateway.stop();
  await assert.rejects(enter(), { code: "unreachable", message: "The server cannot be reached." });
  const alice = new Reader(begin());
  await alice.nth("disconnected", 2);
  await gateway.start(port);
  await alice.nth("joined", 1);
  await assert.rejects(alice.channel.joined, { code: "unreachable" });
});

withGateway("attempts are further and further apart, for a random part of that", async (gateway, { begin, t }) => {
  await gateway.stop();
  const real = { now: Date.now, random: Math.random };
  t.after(() => {
    Date.now = real.now;
    Math.random = real.random;
  });
  Date.now = () => 0;
  Math.random = () => 0.5;
  const alice = new Reader(begin());
  for (let attempt = 1; attempt <= 9; attempt += 1) {
    await alice.nth("disconnected", attempt);
    alice.channel.reconnect();
  }
  const waits = alice.all("disconnected").map(({ retryAt }) => retryAt);
  assert.deepEqual(waits.slice(0, 9), [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
});

withGateway("a server that stops says when to come back", async (gateway, { enter, t }) => {
  const real = { now: Date.now, random: Math.random };
  t.after(() => {
    Date.now = real.now;
    Math.random = real.random;
  });
  const alice = new Reader(await enter());
  await alice.nth("live", 1);
  Date.now = () => 0;
  Math.random = () => 0.5;
  for (const [said, wait] of [["; retry after 2000 ms", 2_250], ["; retry after 999999 ms", 30_000], ["", 250]]) {
    const count = alice.all("disconnected").length;
    gateway.closeAll(1001, `the server is stopping${said}`);
    const { reason, code, retryAt } = await alice.nth("disconnected", count + 1);
    assert.deepEqual([reason, code, retryAt], ["The server is stopping.", 1001, wait]);
    alice.channel.reconnect();
    await alice.nth("live", count + 2);
  }
});

withGateway("a message that is too large is rejected, and no other", async (gateway, { enter }) => {
  gateway.longest = 10;
  const alice = await enter();
  const texts = ["short", "much too long", "short too", "and much too long"];
  const published = await fates(texts.map((text) => alice.publish(text)));
  assert.deepEqual([published[1], published[3]], ["too-large", "too-large"]);
  assert.deepEqual(gateway.kept("room"), ["short", "short too"]);
  await assert.rejects(alice.publish(new Uint8Array(16 << 20)), { code: "too-large" });
});

withGateway("a reader that is slow gets the last events, and is told how many are gone", async (gateway, { enter }) => {
  const alice = await enter();
  const total = 25_000;
  for (let at = 1; at <= total; at += 1) gateway.say("bob", "room", `${at}`);
  await gateway.until(() => alice.position?.endsWith(`:${total}`));
  const events = [];
  for await (const event of alice) {
    events.push(event);
    if (event.text === `${total}`) break;
  }
  assert.ok(events.length <= 10_000, `${events.length}`);
  const [gap, first] = events;
  assert.deepEqual([gap.type, gap.missed, ...offsets([gap])], ["gap", Number(first.text) - 1, Number(first.text) - 1]);
  // Whoever ends a loop may begin another.
  gateway.say("bob", "room", "next");
  for await (const event of alice) {
    assert.equal(event.text, "next");
    break;
  }
});

withGateway("so many messages wait for a server, and no more", async (gateway, { begin }) => {
  await gateway.stop();
  const alice = begin();
  const large = new Uint8Array(8 << 20);
  const published = Array.from({ length: 5 }, () => alice.publish(large));
  const last = await fates(published.slice(3));
  assert.deepEqual(last, ["full", "full"]);
  alice.close();
  assert.deepEqual(await fates(published), ["closed", "closed", "closed", "full", "full"]);
});

withGateway("closing ends the loop, and rejects what has no receipt", async (gateway, { enter }) => {
  gateway.hasReceipts = false;
  const alice = new Reader(await enter());
  const published = alice.channel.publish("hello");
  alice.channel.close();
  assert.deepEqual(await fates([published]), ["closed"]);
  await alice.until(() => alice.isOver);
  assert.deepEqual([alice.error, alice.channel.state], [null, "closed"]);
  await gateway.until(() => gateway.members("room") === 0);
  assert.deepEqual(gateway.kept("room"), ["hello"]);
  alice.channel.reconnect();
  assert.equal(alice.channel.state, "closed");
});

withGateway("what is no notice and no message is left out", async (gateway, { enter, t }) => {
  const warned = t.mock.method(console, "warn", () => {});
  const alice = new Reader(await enter());
  await alice.nth("live", 1);
  for (const text of ["text", "null", "[]", "{}"]) gateway.sendRaw(text);
  gateway.sendRaw(Buffer.from([0xa3, 0xff])); // takes a place, whatever it is
  gateway.say("bob", "room", "hello");
  assert.equal((await alice.nth("message", 1)).text, "hello");
  assert.equal(warned.mock.callCount(), 5);
});

test("options that cannot work are told at once", async (t) => {
  const refused = async (options, what) =>
    assert.rejects(async () => member(t, "127.0.0.1:1", options), { name: "TypeError", message: what });
  await refused({ uid: "" }, /`uid` has to be/);
  await refused({ channel: undefined }, /`channel` has to be/);
  await refused({ url: "nowhere" }, /Invalid URL/);
  await refused({ since: "12" }, /not a position: 12/);
  await refused({ WebSocket: null }, /no WebSocket here: Node has it from version 22 on/);
  await refused({ members: -1 }, /`members` has to be/);
});

withGateway("only bytes and texts are published, and no empty ones", async (gateway, { enter }) => {
  const alice = await enter();
  for (const wrong of ["", new Uint8Array(), 12, null, ["a"]]) {
    await assert.rejects(alice.publish(wrong), { name: "TypeError" });
  }
  await alice.publish(new TextEncoder().encode("hello").buffer);
  assert.deepEqual(gateway.kept("room"), ["hello"]);
});
