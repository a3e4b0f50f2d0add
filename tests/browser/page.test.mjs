// The page as `mles serve` serves it: people in browsers, and clients of v1 over TCP beside them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { noBrowser, open, screenshot, strangers } from "./support/browser.mjs";
import { enter, join, say, settled, shows, violations, waitForState } from "./support/chat.mjs";
import { useBrowser } from "./support/pages.mjs";
import { noServer, serve } from "./support/server.mjs";
import { V1Client } from "./support/v1.mjs";

const KEY = "a secret that is long enough";

const browser = useBrowser();

/** A test with a server; `visit(options)` opens its page, in which nothing may go wrong. */
function withServer(name, env, body) {
  test(name, { skip: noBrowser || noServer }, async (t) => {
    const server = await serve(["--ws", "127.0.0.1:0"], env);
    t.after(() => server.stop());
    await server.says(/https?:\/\/\S+ in a browser/);
    const visits = [];
    t.after(() => Promise.all(visits.map((visit) => visit.close())));
    const visit = async (path = "", options = {}) => {
      visits.push(await open(browser(), `http://${server.web}/${path}`, options));
      return visits.at(-1).page;
    };
    await body({ t, server, visit });
    for (const { trouble, requests } of visits) {
      assert.deepEqual(trouble, []);
      assert.deepEqual(strangers(requests, server.web), []);
    }
  });
}

/** A member over TCP who is gone when the test is over. */
async function member(t, server, uid, channel, key) {
  const client = await V1Client.join(server.tcp, uid, channel, key);
  t.after(() => client.close());
  return client;
}

withServer("two pages and a client of v1 talk to each other", {}, async ({ t, server, visit }) => {
  const [alice, bob] = [await visit(), await visit()];
  await enter(alice, "alice", "room");
  await enter(bob, "bob", "room");
  await alice.getByText("bob joined").waitFor();
  const carol = await member(t, server, "carol", "room");
  await alice.getByText("bob, carol joined").waitFor();
  await bob.getByText("carol joined").waitFor();

  await say(alice, "hello, all");
  await shows(bob, ["alice: hello, all"]);
  await carol.receives("alice", "room", "hello, all");
  await say(bob, "zwölf 🎉\nand a line");
  await carol.receives("bob", "room", "zwölf 🎉\nand a line");
  carol.publish("from far");

  await shows(alice, ["You: hello, all", "bob: zwölf 🎉\nand a line", "carol: from far"]);
  await shows(bob, ["alice: hello, all", "You: zwölf 🎉\nand a line", "carol: from far"]);
});

withServer("a member sees the history, from whomever it is", {}, async ({ t, server, visit }) => {
  const carol = await member(t, server, "carol", "room");
  carol.publish("one");
  carol.publish(Buffer.from([0xff, 0xfe, 0x00]));
  await enter(await visit(), "alice", "room");
  const bob = await visit("#room");
  await enter(bob, "bob", "room");
  await bob.getByText("binary, 3 bytes").waitFor();
  carol.publish("two");
  await bob.getByText("two", { exact: true }).waitFor();
  const late = await visit("#room");
  await enter(late, "dave", "room");
  await late.getByText("two", { exact: true }).waitFor();
  assert.equal(await late.locator(".message").count(), 3);
});

withServer("several channels at once", {}, async ({ t, server, visit }) => {
  const carol = await member(t, server, "carol", "one");
  const erin = await member(t, server, "erin", "two");
  const page = await visit();
  await enter(page, "alice", "one");
  await page.getByRole("link", { name: "Join a channel" }).click();
  await enter(page, "alice", "two");
  carol.publish("in one");
  erin.publish("in two");
  await shows(page, ["erin: in two"]);
  await page.getByRole("link", { name: "one 1 unread" }).click();
  await shows(page, ["carol: in one"]);
  await say(page, "answered");
  await carol.receives("alice", "one", "answered");
  assert.equal(erin.received.some((body) => body.includes("answered")), false);
});

withServer("a key is needed where there is one", { MLES_KEY: KEY }, async ({ t, server, visit }) => {
  const carol = await member(t, server, "carol", "room", KEY);
  carol.publish("for those with a key");
  const page = await visit();
  await join(page, "alice", "room");
  await waitForState(page, "refused");
  await page.getByRole("button", { name: "Enter the key" }).click();
  await join(page, "alice", "room", "not this one");
  await waitForState(page, "refused");
  await page.getByRole("button", { name: "Enter the key" }).click();
  await enter(page, "alice", "room", KEY);
  await shows(page, ["carol: for those with a key"]);
});

test("a restart of the server is survived, and nothing shown twice", { skip: noBrowser || noServer }, async (t) => {
  const first = await serve(["--ws", "127.0.0.1:0"]);
  t.after(() => first.stop());
  await first.says(/https?:\/\/\S+ in a browser/);
  const { tcp, web } = first;
  const { page, trouble, close } = await open(browser(), `http://${web}/`);
  t.after(close);
  await enter(page, "alice", "room");
  const carol = await V1Client.join(tcp, "carol", "room");
  t.after(() => carol.close());
  carol.publish("before");
  await shows(page, ["carol: before"]);
  await say(page, "mine");
  await carol.receives("alice", "room", "mine");
  assert.equal(await first.stop(), 0);
  await waitForState(page, "waiting");
  await screenshot(page, "page-server-gone");

  const second = await serve(["--listen", tcp, "--ws", web]);
  t.after(() => second.stop());
  await settled(page);
  const dave = await V1Client.join(tcp, "dave", "room");
  t.after(() => dave.close());
  dave.publish("after");
  await shows(page, ["carol: before", "You: mine", "dave: after"]);
  await say(page, "back");
  await dave.receives("alice", "room", "back");
  // Attempts while nobody listens are on the console; nothing else is.
  assert.deepEqual(trouble.filter((line) => !line.includes("WebSocket connection to")), []);
});

withServer("a page that was away gets what it missed, once", {}, async ({ t, server, visit }) => {
  const carol = await member(t, server, "carol", "room");
  const page = await visit();
  await enter(page, "alice", "room");
  carol.publish("one");
  await shows(page, ["carol: one"]);
  await say(page, "two");
  await carol.receives("alice", "room", "two");
  await page.context().setOffline(true);
  await waitForState(page, "waiting");
  carol.publish("three");
  await page.context().setOffline(false);
  await settled(page);
  await shows(page, ["carol: one", "You: two", "carol: three"]);
});

for (const colorScheme of ["light", "dark"]) {
  withServer(`the page is for everyone, ${colorScheme}`, {}, async ({ t, server, visit }) => {
    const carol = await member(t, server, "carol", "room");
    carol.publish("I was here before you");
    const page = await visit("", { colorScheme });
    assert.deepEqual(await violations(page), []);
    await enter(page, "alice", "room");
    await say(page, "hello, carol");
    carol.publish(Buffer.from([0xff, 0x01]));
    await page.getByText("binary, 2 bytes").waitFor();
    assert.deepEqual(await violations(page), []);
    await screenshot(page, `page-served-${colorScheme}`);
  });
}
