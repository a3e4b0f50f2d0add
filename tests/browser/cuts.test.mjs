// Clients behind a network that cuts them off at any byte, with the real server.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import { test } from "node:test";
import { launch, noBrowser, open } from "./support/browser.mjs";
import { Reader, joining, member } from "./support/channels.mjs";
import { cuttingProxy } from "./support/proxy.mjs";
import { noServer, serve } from "./support/server.mjs";

const MESSAGES = 300;

/** Numbers below `below` that are the same in every run. */
function numbers(seed, below, count) {
  let state = seed;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return (state >> 8) % below;
  });
}

async function server(t, options = []) {
  const running = await serve(["--ws", "127.0.0.1:0", "--history-limit", "10000", ...options]);
  t.after(() => running.stop());
  await running.says(/https?:\/\/\S+ in a browser/);
  return running;
}

async function publish(web, text) {
  const response = await fetch(`http://${web}/channels/room/messages`, { method: "POST", body: text });
  assert.equal(response.status, 201);
  await response.arrayBuffer();
}

const texts = (count) => Array.from({ length: count }, (_, n) => `message ${n}`);

test("a member in Node gets each message once and in order, wherever it is cut off", { skip: noServer, timeout: 120_000 }, async (t) => {
  const { web } = await server(t);
  const proxy = await cuttingProxy(t, web, numbers(14, 4000, 8).map((at) => at + 1));
  const alice = new Reader(joining(t, proxy.address));
  for (const text of texts(MESSAGES)) await publish(web, text);
  await alice.until(({ channel, messages }) => {
    // Nobody waits here for a backoff.
    if (channel.state === "waiting") channel.reconnect();
    return messages.length >= MESSAGES;
  }, 90_000);
  assert.deepEqual(alice.all("message").map(({ text }) => text), texts(MESSAGES));
  assert.deepEqual(alice.all("gap"), []);
  assert.ok(proxy.cut > 2, `cut off ${proxy.cut} times`);
});

test("a publisher in Node gets each message in once, wherever it is cut off", { skip: noServer, timeout: 120_000 }, async (t) => {
  const { web } = await server(t);
  const bob = new Reader(await member(t, web, { uid: "bob" }));
  const proxy = await cuttingProxy(t, web, numbers(7, 3000, 8).map((at) => at + 400));
  const alice = await member(t, proxy.address);
  const impatient = setInterval(() => alice.state === "waiting" && alice.reconnect(), 10);
  t.after(() => clearInterval(impatient));
  const receipts = [];
  for (const text of texts(MESSAGES)) {
    receipts.push(alice.publish(text));
    // A few at a time, so that some are under way when the connection is cut off.
    await receipts.at(-4);
  }
  const confirmed = await Promise.all(receipts);
  await bob.until(({ messages }) => messages.length >= MESSAGES, 90_000);
  assert.deepEqual(bob.all("message").map(({ text }) => text), texts(MESSAGES));
  // A receipt says where the others have seen it. What is not known is null, never wrong.
  const seen = bob.all("message").map(({ position }) => position);
  confirmed.forEach((position, at) => assert.ok(position === null || position === seen[at], `${position} ${seen[at]}`));
  assert.ok(proxy.cut > 2, `cut off ${proxy.cut} times`);
});

const PAGE = (events) => `<!doctype html><title>events</title><link rel="icon" href="data:,">
<script>
  window.seen = [];
  window.opened = 0;
  const source = new EventSource("${events}");
  source.onopen = () => (window.opened += 1);
  source.onmessage = ({ data, lastEventId }) => window.seen.push([JSON.parse(data).text, lastEventId]);
  source.addEventListener("gap", ({ data }) => window.seen.push(["gap", data]));
</script>`;

test("EventSource of a browser goes on where it was cut off", { skip: noBrowser || noServer, timeout: 120_000 }, async (t) => {
  const http = createServer((_, response) => response.setHeader("content-type", "text/html").end(html));
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  t.after(() => http.close());
  const origin = `http://127.0.0.1:${http.address().port}`;
  const { web } = await server(t, ["--ws-origin", origin]);
  const proxy = await cuttingProxy(t, web, [2000, 5003]);
  const html = PAGE(`http://${proxy.address}/channels/room/events`);
  for (const text of texts(10)) await publish(web, text);
  const browser = await launch();
  t.after(() => browser.close());
  const { page } = await open(browser, origin);
  await page.waitForFunction(() => window.opened > 0);
  for (const text of texts(100).slice(10)) await publish(web, text);
  await page.waitForFunction(() => window.seen.length >= 100, null, { timeout: 90_000 });
  const seen = await page.evaluate(() => window.seen);
  assert.deepEqual(seen.map(([text]) => text), texts(100));
  const [epoch] = seen[0][1].split(":");
  assert.deepEqual(seen.map(([, id]) => id), texts(100).map((_, n) => `${epoch}:${n + 1}`));
  assert.equal(proxy.cut, 2);
  assert.ok((await page.evaluate(() => window.opened)) >= 3);
});
