// What the page shows of a connection that is refused, breaks and comes back, and of a history that
// is replayed. The server is a stand-in that does these on command.

import assert from "node:assert/strict";
import { joinKey } from "../../web/mles.js";
import { screenshot } from "./support/browser.mjs";
import { enter, join, messages, say, settled, shows, violations, waitForState } from "./support/chat.mjs";
import { usePages } from "./support/pages.mjs";

const withAnyPage = usePages();

/** A test with a server and a page of it. */
const withPage = (name, body, options) => withAnyPage(name, options, body);

withPage("a history is shown before what happens", async (page, gateway) => {
  gateway.say("bob", "room", "first");
  gateway.say("bob", "room", "second");
  await enter(page, "alice", "room");
  gateway.say("bob", "room", "third");
  await shows(page, ["bob: first", "bob: second", "bob: third"]);
  const times = await page.locator(".message").evaluateAll((rows) =>
    rows.map((row) => row.querySelector("time") !== null),
  );
  assert.deepEqual(times, [false, false, true]);
  const notes = page.locator(".note:not([hidden])");
  assert.equal(await notes.first().textContent(), "Before you joined");
  await page.getByText(/^You joined at /).waitFor();
});

withPage("those who join are named", async (page, gateway) => {
  await enter(page, "alice", "room");
  gateway.say("bob", "room", "");
  await page.getByText("bob joined").waitFor();
  gateway.say("carol", "room", "");
  await page.getByText("bob, carol joined").waitFor();
  ["dave", "erin", "frank", "bob"].forEach((uid) => gateway.say(uid, "room", ""));
  await page.getByText("bob, carol, dave, erin and 1 more joined").waitFor();
  assert.deepEqual(await messages(page), []);
});

withPage("a wrong key is refused, and the right one taken", async (page, gateway) => {
  const wanted = joinKey("alice", "room", "secret");
  gateway.refuse = (_, url) =>
    new URL(url, "ws://localhost").searchParams.get("auth") === wanted ? null : [4401, ""];
  await join(page, "alice", "room", "wrong");
  await waitForState(page, "refused");
  await page.getByText("The server does not accept this key.", { exact: true }).waitFor();
  await screenshot(page, "page-refused");
  await page.getByRole("button", { name: "Enter the key" }).click();
  await page.getByRole("heading", { name: "Enter the key" }).waitFor();
  assert.equal(await page.getByLabel("Server key").inputValue(), "");
  assert.equal(await page.getByLabel("Channel", { exact: true }).inputValue(), "room");
  await screenshot(page, "page-enter-key");
  // It is needed here, and not wherever one goes instead.
  assert.equal(await page.getByLabel("Server key").evaluate((field) => field.required), true);
  await page.getByRole("link", { name: "Join a channel" }).click();
  await page.getByRole("heading", { name: "Join a channel" }).waitFor();
  assert.equal(await page.getByLabel("Server key").evaluate((field) => field.required), false);
  await page.getByRole("link", { name: "room" }).click();
  await page.getByRole("button", { name: "Enter the key" }).click();
  await enter(page, "alice", "room", "secret");
  assert.equal(await page.locator(".banner").isVisible(), false);
});

withPage("the reason of a refusal is shown, and nothing tried until told", async (page, gateway) => {
  let asked = 0;
  gateway.refuse = () => {
    asked += 1;
    return [1008, "this channel is full"];
  };
  await join(page, "alice", "room");
  await page.getByText("this channel is full", { exact: true }).waitFor();
  await waitForState(page, "refused");
  await page.waitForTimeout(1_500); // more than two waits before a second attempt
  assert.equal(asked, 1);
  gateway.refuse = () => null;
  await page.getByRole("button", { name: "Try now" }).click();
  await settled(page);
});

withPage("a name that is taken is refused at first, and waited for after a break", async (page, gateway) => {
  gateway.refuse = () => [4409, "this connection id is in use"];
  await join(page, "alice", "room");
  await waitForState(page, "refused");
  gateway.refuse = () => null;
  await page.getByRole("button", { name: "Try now" }).click();
  await settled(page);
  gateway.refuse = () => [4409, "this connection id is in use"];
  gateway.closeAll(1001, "");
  await waitForState(page, "waiting");
  gateway.refuse = () => null;
  await settled(page);
});

withPage("a break is survived without a message lost or shown twice", async (page, gateway) => {
  await enter(page, "alice", "room");
  gateway.say("bob", "room", "one");
  await say(page, "two");
  await shows(page, ["bob: one", "You: two"]);
  const { port } = gateway;
  await gateway.stop();
  await waitForState(page, "waiting");
  await page.getByText(/^Reconnecting in \d+ s$/).waitFor();
  assert.deepEqual(await violations(page), []);
  await screenshot(page, "page-waiting");
  await page.getByRole("textbox", { name: "Message to room" }).fill("kept");
  await page.keyboard.press("Enter");
  await page.getByText("Not connected. Your message stays here until you are back.").first().waitFor();
  gateway.say("bob", "room", "three");
  await gateway.start(port);
  await settled(page);
  await page.getByText(/^Back at /).waitFor();
  await shows(page, ["bob: one", "You: two", "bob: three"]);
  await page.getByRole("button", { name: "Send" }).click();
  await shows(page, ["bob: one", "You: two", "bob: three", "You: kept"]);
});

withPage("a message that the server does not take is not lost silently", async (page, gateway) => {
  await enter(page, "alice", "room");
  await say(page, "far too much");
  await gateway.until(() => gateway.kept("room").length === 1);
  gateway.closeAll(1009, "");
  await page.getByText(/^Disconnected at .*: The message was too large for the server\.$/).waitFor();
  await settled(page);
});

withPage("a server that has forgotten everything hides nothing", async (page, gateway) => {
  await enter(page, "alice", "room");
  gateway.say("bob", "room", "one");
  gateway.say("bob", "room", "two");
  await shows(page, ["bob: one", "bob: two"]);
  gateway.forget();
  gateway.closeAll(1001, "the server is stopping");
  await page.getByText(/^Back at /).waitFor(); // the wait before it may be too short to be seen
  gateway.say("bob", "room", "one");
  await shows(page, ["bob: one", "bob: two", "bob: one"]);
});

withPage("a device that goes offline says so and comes back at once", async (page) => {
  await enter(page, "alice", "room");
  await page.context().setOffline(true);
  await waitForState(page, "waiting");
  await page.getByText("This device is offline.").first().waitFor();
  await page.context().setOffline(false);
  await settled(page);
});

withPage("what is no message is left out, and what follows is shown", async (page, gateway, { trouble }) => {
  await enter(page, "alice", "room");
  gateway.sendRaw(Buffer.from([0xa3, 0xff]));
  gateway.sendRaw("text");
  gateway.say("bob", "room", "whole");
  await shows(page, ["bob: whole"]);
  assert.equal(trouble.filter((line) => line.includes("left out")).length, 2);
});

withPage("the session that the page leaves is closed", async (page, gateway) => {
  await enter(page, "alice", "room");
  await page.getByRole("button", { name: "Leave" }).click();
  await page.getByRole("heading", { name: "Join a channel" }).waitFor();
  assert.equal(await page.getByRole("link", { name: "room" }).count(), 0);
  await gateway.until(() => gateway.members("room") === 0);
});

withPage("an error is gone when its reason is", async (page, gateway) => {
  await enter(page, "alice", "room");
  const { port } = gateway;
  await gateway.stop();
  await waitForState(page, "waiting");
  await page.getByRole("textbox", { name: "Message to room" }).fill("too early");
  await page.keyboard.press("Enter");
  const problem = page.locator(".composer .problem");
  await problem.waitFor();
  await gateway.start(port);
  await settled(page);
  await page.getByText("Enter to send, Shift+Enter for a new line.").waitFor();
  assert.equal(await problem.count(), 0);
});

withPage("what was missed stands behind a line that says so", async (page, gateway) => {
  await enter(page, "alice", "room");
  gateway.say("bob", "room", "one");
  await shows(page, ["bob: one"]);
  const { port } = gateway;
  await gateway.stop();
  await waitForState(page, "waiting");
  gateway.say("bob", "room", "two");
  await gateway.start(port);
  await shows(page, ["bob: one", "bob: two"]);
  await page.getByText("While you were away", { exact: true }).waitFor();
  assert.equal(await page.getByText("Before you joined", { exact: true }).count(), 0);
});

withPage("how many messages are gone is said in one line, where they were", async (page, gateway) => {
  gateway.keeps = 2;
  await enter(page, "alice", "room");
  gateway.say("bob", "room", "one");
  await shows(page, ["bob: one"]);
  const { port } = gateway;
  await gateway.stop();
  await waitForState(page, "waiting");
  ["two", "three", "four", "five", "six"].forEach((text) => gateway.say("bob", "room", text));
  await gateway.start(port);
  await shows(page, ["bob: one", "bob: five", "bob: six"]);
  await page.getByText(/^Back at /).waitFor();
  const lines = await page.locator(".log > :not([hidden])").allTextContents();
  assert.deepEqual(lines.slice(-5, -3), ["3 messages missing here: the server no longer has them.", "While you were away"]);
  gateway.notify("room", { gap: { missed: 1 } });
  gateway.say("bob", "room", "eight");
  await page.getByText("1 message missing here: this browser was too slow.").waitFor();
  assert.deepEqual(await violations(page), []);
  await screenshot(page, "page-missing");
});

withPage("one's own message is shown once, wherever the connection broke", async (page, gateway) => {
  await enter(page, "alice", "room");
  gateway.hasReceipts = false;
  await say(page, "taken");
  await page.locator(".message.unconfirmed").waitFor();
  await gateway.until(() => gateway.kept("room").length === 1);
  await page.waitForFunction(() => {
    const [bubble] = document.querySelectorAll(".unconfirmed .bubble");
    return getComputedStyle(bubble).opacity < 1;
  });
  await screenshot(page, "page-unconfirmed");
  const { port } = gateway;
  await gateway.stop();
  await waitForState(page, "waiting");
  gateway.say("bob", "room", "meanwhile");
  gateway.hasReceipts = true;
  await gateway.start(port);
  await settled(page);
  await shows(page, ["You: taken", "bob: meanwhile"]);
  assert.equal(await page.locator(".unconfirmed, .failed").count(), 0);
  assert.deepEqual(gateway.kept("room"), ["taken", "meanwhile"]);
});

withPage("what may not have arrived says so, and what cannot says why", async (page, gateway) => {
  await enter(page, "alice", "room");
  gateway.hasReceipts = false;
  await say(page, "who knows");
  await gateway.until(() => gateway.kept("room").length === 1);
  gateway.forget();
  gateway.hasReceipts = true;
  gateway.cut();
  await page.getByText("It is not known whether the others got this.").waitFor();
  await settled(page);
  gateway.longest = 10;
  await say(page, "much too long");
  await page.getByText("Not delivered. The message was too large for the server.").waitFor();
  await settled(page);
  await say(page, "short");
  await gateway.until(() => gateway.kept("room").at(-1) === "short");
  assert.deepEqual(await violations(page), []);
  await screenshot(page, "page-failed");
});

withPage("a server without positions has a page all the same", async (page, gateway) => {
  gateway.hasPositions = false;
  gateway.say("bob", "room", "one");
  await enter(page, "alice", "room");
  gateway.say("bob", "room", "two");
  await shows(page, ["bob: one", "bob: two"]);
  await say(page, "three");
  await gateway.until(() => gateway.kept("room").length === 3);
  assert.equal(await page.locator(".here, .unconfirmed").filter({ visible: true }).count(), 0);
});

withPage("who tries again after a refusal misses nothing", async (page, gateway) => {
  await enter(page, "alice", "room");
  gateway.say("bob", "room", "one");
  await shows(page, ["bob: one"]);
  gateway.refuse = () => [1008, "not today"];
  gateway.cut();
  await waitForState(page, "refused");
  gateway.say("bob", "room", "two");
  gateway.refuse = () => null;
  await page.getByRole("button", { name: "Try now" }).click();
  await shows(page, ["bob: one", "bob: two"]);
});
