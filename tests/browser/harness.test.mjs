// That the other tests can rely on what they stand on: a server, clients and a browser.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import { test } from "node:test";
import { launch, noBrowser, open, screenshot, strangers } from "./support/browser.mjs";
import { noServer, run, serve } from "./support/server.mjs";
import { V1Client } from "./support/v1.mjs";

test("two clients of v1 talk through a server", { skip: noServer }, async (t) => {
  const server = await serve();
  t.after(() => server.stop());
  const alice = await V1Client.join(server.tcp, "alice", "room");
  t.after(() => alice.close());
  alice.publish("first");
  const bob = await V1Client.join(server.tcp, "bob", "room");
  t.after(() => bob.close());
  await bob.receives("alice", "room", "first");
  bob.publish("second");
  await alice.receives("bob", "room", "second");
});

test("a server with a key takes clients that have it", { skip: noServer }, async (t) => {
  const server = await serve([], { MLES_KEY: "a long enough secret" });
  t.after(() => server.stop());
  const alice = await V1Client.join(server.tcp, "alice", "room", "a long enough secret");
  t.after(() => alice.close());
  alice.publish("hello");
  const bob = await V1Client.join(server.tcp, "bob", "room", "a long enough secret");
  t.after(() => bob.close());
  await bob.receives("alice", "room", "hello");
});

test("a server stops cleanly when told to", { skip: noServer }, async () => {
  const server = await serve();
  assert.equal(await server.stop(), 0);
});

test("a server that ends instead of starting is reported with what it said", { skip: noServer }, async () => {
  const program = run(["serve", "--listen", "nowhere"]);
  await assert.rejects(program.says(/listens on/), /before it ended, but:\n[^]*nowhere/);
});

/** A page with every kind of trouble. */
const TROUBLE = `<!doctype html><title>trouble</title><link rel="icon" href="data:,">
<script>
  console.error("said aloud");
  fetch("http://127.0.0.1:9/elsewhere").catch(() => {});
  setTimeout(() => { document.title = "thrown"; throw new Error("not caught"); });
</script>`;

test("what goes wrong in a page is noted", { skip: noBrowser }, async (t) => {
  const server = createServer((_, response) => {
    response.setHeader("content-type", "text/html");
    response.end(TROUBLE);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const browser = await launch();
  t.after(() => browser.close());
  const home = `127.0.0.1:${server.address().port}`;
  const visit = await open(browser, `http://${home}/`);
  await visit.page.waitForFunction(() => document.title === "thrown");
  await screenshot(visit.page, "harness");
  assert.ok(visit.trouble.some((line) => line.includes("said aloud")), visit.trouble.join("\n"));
  assert.ok(visit.trouble.some((line) => line.includes("not caught")), visit.trouble.join("\n"));
  assert.deepEqual(strangers(visit.requests, home), ["http://127.0.0.1:9/elsewhere"]);
});
