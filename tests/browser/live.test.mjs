// The dashboard of the program itself, with sessions and messages: what it shows is true, and what it does happens.

import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { once } from "node:events";
import { test } from "node:test";
import WebSocket from "ws";
import { noBrowser, open, screenshot } from "./support/browser.mjs";
import { violations } from "./support/chat.mjs";
import { useBrowser } from "./support/pages.mjs";
import { noServer, run, serve } from "./support/server.mjs";

const browser = useBrowser();
/** A name with all that may go wrong on its way into a page, a path and a query. */
const NAME = `<b>a & b</b> "c" / d+e %41 ?#`;
const LONG = "a name that is long ".repeat(20);

/** A test with a server, the page of its admin listener, and `say(uid, channel)`, which joins and talks without end. */
function withServer(name, body, { options = [], mayFail = null } = {}) {
  test(name, { skip: noBrowser || noServer, timeout: 120_000 }, async (t) => {
    const server = await serve(["--ws", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--shards", "2", ...options]);
    t.after(() => server.stop("SIGKILL"));
    const [, admin] = /admin at http:\/\/(\S+)/.exec(server.output);
    const [, web] = /(\S+) \(WebSocket\)/.exec(server.output);
    const visit = await open(browser(), `http://${admin}/`);
    t.after(() => visit.close());
    const talkers = [];
    t.after(() => talkers.forEach((stop) => stop()));
    const say = async (uid, channel, every) => {
      const talker = await talk(web, uid, channel, every);
      talkers.push(talker.stop);
      return talker;
    };
    await body(visit.page, { server, admin, say, visit });
    assert.deepEqual(visit.trouble.filter((line) => !mayFail?.test(line)), []);
  });
}

/** Joins over WebSocket v2, and says something each `every` milliseconds. */
async function talk(address, uid, channel, every) {
  const socket = new WebSocket(`ws://${address}/`);
  await once(socket, "open");
  socket.send(JSON.stringify({ uid, channel }));
  const timer = setInterval(() => socket.send("hello"), every);
  const closed = once(socket, "close").then(([code]) => (clearInterval(timer), code));
  return { closed, stop: () => (clearInterval(timer), socket.terminate()) };
}

const table = (page, label) => page.getByRole("group", { name: label, exact: true });

/** Waits until the first row of a table has all of `words`. */
async function firstRow(page, label, ...words) {
  const row = table(page, label).locator("tbody tr").first();
  for (const word of words) await row.getByText(word, { exact: true }).waitFor();
  return row;
}

withServer("who publishes most, and where, comes first, and the session ends when that is asked for", async (page, { say }) => {
  await say("quiet", "room", 500);
  const loud = await say("loud", NAME, 5);
  await firstRow(page, "Busiest channels", NAME);
  const row = await firstRow(page, "Busiest publishers", "loud");
  await screenshot(page, "live");
  await row.getByRole("button").click();
  const dialog = page.getByRole("dialog", { name: "End this session?" });
  await dialog.getByRole("button", { name: "End the session" }).click();
  await dialog.getByText("The session was ended.").waitFor();
  assert.equal(await loud.closed, 1008);
  await page.keyboard.press("Escape");
  await firstRow(page, "Busiest publishers", "quiet");
});

withServer("a channel is shown with its members, whatever it is called", async (page, { say }) => {
  await say("alice", NAME, 20);
  await say("bob", LONG, 20);
  for (const [name, uid] of [[NAME, "alice"], [LONG, "bob"]]) {
    await page.getByRole("link", { name: "Overview" }).click();
    await table(page, "Busiest channels").getByRole("link", { name: name.trim() }).click();
    await firstRow(page, "Members, slowest first", uid);
    await page.getByText(/^[0-9a-f]{16}:\d+$/).or(page.getByText("–")).first().waitFor();
    assert.doesNotMatch(await page.locator("main").innerText(), /undefined|NaN|\[object/);
  }
  await page.getByRole("button", { name: "Clear the history" }).click();
  const dialog = page.getByRole("dialog", { name: "Clear the history?" });
  await dialog.getByRole("button", { name: "Clear the history" }).click();
  await dialog.getByText("The history is empty.").waitFor();
});

withServer("long names leave the buttons in sight", async (page, { say }) => {
  await say(LONG, LONG, 50);
  await page.getByRole("link", { name: "Sessions", exact: true }).click();
  const end = table(page, "Sessions").getByRole("button", { name: /^End the session/ });
  await end.waitFor();
  const { x, width } = await end.boundingBox();
  assert.ok(x + width <= 1280, `the button ends at ${x + width}`);
  assert.deepEqual(await violations(page), []);
  await screenshot(page, "live-long-names");
});

withServer("a drain is seen to its end", async (page, { server, say }) => {
  const member = await say("alice", "room", 50);
  await firstRow(page, "Busiest publishers", "alice");
  await page.getByRole("button", { name: "Drain" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Drain and stop" }).click();
  assert.equal(await member.closed, 1001);
  await page.locator('.state[data-state="gone"]').waitFor();
  assert.match(server.output, /listens on/);
}, { mayFail: /net::ERR_/ });

test("the token of a server is asked for", { skip: noBrowser || noServer, timeout: 60_000 }, async (t) => {
  const file = `${mkdtempSync(`${tmpdir()}/mles-`)}/token`;
  writeFileSync(file, "a token that is long enough\n", { mode: 0o600 });
  const server = run(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--admin-token-file", file]);
  t.after(() => server.stop("SIGKILL"));
  const [, admin] = await server.says(/admin at http:\/\/(\S+)/);
  const { page, close } = await open(browser(), `http://${admin}/`);
  t.after(close);
  await page.getByLabel("Token").fill("wrong");
  await page.getByRole("button", { name: "Show the dashboard" }).click();
  await page.getByText("the token is wrong").waitFor();
  await page.getByLabel("Token").fill("a token that is long enough");
  await page.keyboard.press("Enter");
  await page.locator('.state[data-state="running"]').waitFor();
});
