// How messages and channels are shown: whatever they hold, however many they are, on every screen,
// with a keyboard, and to those who hear the page.

import assert from "node:assert/strict";
import { screenshot, strangers } from "./support/browser.mjs";
import { member } from "./support/channels.mjs";
import { enter, join, messages, say, settled, shows, violations, waitForState } from "./support/chat.mjs";
import { usePages } from "./support/pages.mjs";

const withAnyPage = usePages();

/** A test with a server and a page of it; nothing may go wrong in the page. */
function withPage(name, options, body) {
  withAnyPage(name, options, async (page, gateway, visit, t) => {
    await body(page, gateway, t);
    assert.deepEqual(visit.trouble, []);
    assert.deepEqual(strangers(visit.requests, gateway.address), []);
  });
}

const MARKUP = `<img src=x onerror="document.title='caught'"><script>document.title='caught'</script>`;

withPage("markup is text, in messages and in names", {}, async (page, gateway) => {
  await enter(page, MARKUP, MARKUP);
  gateway.say(MARKUP, MARKUP, MARKUP);
  gateway.say(`${MARKUP}2`, MARKUP, MARKUP);
  gateway.say(`${MARKUP}3`, MARKUP, "");
  await page.locator(".arrival").waitFor();
  await shows(page, [`${MARKUP}: ${MARKUP}`, `${MARKUP}2: ${MARKUP}`]);
  assert.equal(await page.locator("main img:not(.mark), main script").count(), 0);
  assert.match(await page.title(), /^<img/);
});

withPage("who has the same name is not taken for oneself", {}, async (page, gateway) => {
  gateway.say("alice", "room", "said before");
  await enter(page, "alice", "room");
  await say(page, "said here");
  gateway.say("alice", "room", "said elsewhere");
  await shows(page, ["You: said before", "You: said here", "alice: said elsewhere"]);
});

withPage("bytes that are no text are shown as bytes", {}, async (page, gateway) => {
  await enter(page, "alice", "room");
  gateway.say("sensor", "room", Buffer.from([0xff, 0x00, 0x4d, 0x6c, 0x65, 0x73]));
  gateway.say("sensor", "room", Buffer.alloc(5_000, 0xfe));
  await page.getByText("binary, 5,000 bytes").waitFor();
  const rows = await page.locator(".hex").allTextContents();
  assert.match(rows[0], /^ff 00 4d 6c 65 73 +··Mles$/);
  assert.ok(rows[1].endsWith("\n…") && rows[1].length < 400, rows[1]);
});

withPage("long messages are folded until asked for", {}, async (page, gateway) => {
  await enter(page, "alice", "room");
  const long = Array.from({ length: 200 }, (_, at) => `line ${at}`).join("\n");
  gateway.say("bob", "room", long);
  const button = page.getByRole("button", { name: "Show all 1,689 characters" });
  await button.waitFor();
  assert.ok((await messages(page))[0].length < 200);
  await button.click();
  assert.deepEqual(await messages(page), [`bob: ${long}`]);
  await page.getByRole("button", { name: "Show less" }).click();
  assert.ok((await messages(page))[0].length < 200);
});

withPage("a page holds a bounded number of messages, the last ones", {}, async (page, gateway) => {
  await enter(page, "alice", "room");
  for (let at = 0; at < 3_500; at += 1) {
    gateway.say("bob", "room", `${at}`);
  }
  await page.getByText("3499", { exact: true }).waitFor();
  const shown = await messages(page);
  assert.ok(shown.length <= 1_000 && shown.length > 900, `${shown.length}`);
  assert.equal(shown.at(-1), "bob: 3499");
  assert.equal(await page.getByText("Older messages are no longer shown.").isVisible(), true);
});

/** Enters a channel with a long history and goes to its beginning. Returns the log. */
async function scrolledUp(page, gateway) {
  for (let at = 0; at < 60; at += 1) {
    gateway.say("bob", "room", `line ${at}`);
  }
  await enter(page, "alice", "room");
  const log = page.getByRole("log", { name: "Messages in room" });
  await log.evaluate((element) => element.scrollTo(0, 0));
  await page.waitForFunction(() => document.querySelector(".log").scrollTop === 0);
  return log;
}

withPage("a reader who has scrolled up stays there and is told", {}, async (page, gateway) => {
  const log = await scrolledUp(page, gateway);
  gateway.say("bob", "room", "new");
  const button = page.getByRole("button", { name: "1 new message ↓" });
  await button.waitFor();
  assert.equal(await log.evaluate((element) => element.scrollTop), 0);
  await screenshot(page, "page-scrolled");
  await button.click();
  await page.getByText("new", { exact: true }).waitFor();
  assert.equal(await button.isVisible(), false);
});

withPage("channels count what has not been read", {}, async (page, gateway) => {
  gateway.say("bob", "one", "was there before");
  await enter(page, "alice", "one");
  await page.goto(`http://${gateway.address}/#two`);
  await settled(page);
  await say(page, "said in two");
  gateway.say("bob", "one", "a");
  gateway.say("bob", "one", "b");
  await page.getByRole("link", { name: "one 2 unread" }).waitFor();
  await page.waitForFunction(() => document.title === "(2) two · Mles");
  await page.getByRole("link", { name: "one 2 unread" }).click();
  await shows(page, ["bob: was there before", "bob: a", "bob: b"]);
  await page.getByRole("link", { name: "one", exact: true }).waitFor();
  assert.equal(await page.title(), "one · Mles");
  await page.getByRole("link", { name: "two", exact: true }).click();
  await shows(page, ["You: said in two"]);
});

withPage("names and channels are remembered, the key only in the tab", {}, async (page, gateway) => {
  await enter(page, "alice", "sök/väg %", "secret");
  const address = page.url();
  assert.equal(new URL(address).hash, `#${encodeURIComponent("sök/väg %")}`);
  await page.reload();
  await settled(page);
  assert.equal(await page.getByRole("heading", { level: 1 }).textContent(), "#sök/väg %");
  const stored = await page.evaluate(() => JSON.stringify(localStorage));
  assert.ok(stored.includes("alice") && !stored.includes("secret"), stored);
  const other = await page.context().newPage();
  await other.goto(`http://${gateway.address}/`);
  await settled(other);
  await other.getByRole("link", { name: "Join a channel" }).click();
  assert.equal(await other.getByLabel("Server key").inputValue(), "");
});

withPage("what is typed stays with its channel", {}, async (page, gateway) => {
  await enter(page, "alice", "one");
  await page.getByRole("textbox", { name: "Message to one" }).fill("half a sen");
  await page.goto(`http://${gateway.address}/#two`);
  const two = page.getByRole("textbox", { name: "Message to two" });
  assert.equal(await two.inputValue(), "");
  await page.getByRole("link", { name: "one" }).click();
  assert.equal(await page.getByRole("textbox", { name: "Message to one" }).inputValue(), "half a sen");
});

withPage("everything can be done with the keyboard", {}, async (page, gateway) => {
  const press = async (...keys) => {
    for (const key of keys) {
      await page.keyboard.press(key);
    }
  };
  const type = (text) => page.keyboard.type(text);
  const focused = () =>
    page.evaluate(() => {
      const element = document.activeElement;
      return element.getAttribute("aria-label") ?? (element.innerText.trim() || element.dataset.id);
    });
  await type("alice");
  await press("Tab");
  await type("room");
  await press("Tab", "Enter");
  await settled(page);
  assert.equal(await focused(), "text");
  await type("one");
  await press("Shift+Enter");
  await type("line more");
  await press("Enter");
  await shows(page, ["You: one\nline more"]);
  // From the field back to the start of the page.
  const stops = [
    "Messages in room",
    "Leave",
    "Only you here",
    "Theme: automatic",
    "You are alice. Change your name",
    "Join a channel",
    "room",
    "Skip to the channel",
  ];
  for (const stop of stops) {
    await press("Shift+Tab");
    assert.equal(await focused(), stop);
  }
  await press("Tab", "Tab", "Tab", "Tab", "Enter");
  assert.equal(await focused(), "Theme: light");
  await press("Shift+Tab", "Shift+Tab", "Enter");
  await page.waitForFunction(() => document.activeElement.dataset.id === "channel");
  await type("two");
  await press("Enter");
  await settled(page);
  assert.equal(await page.getByRole("heading", { level: 1 }).textContent(), "#two");
  // The skip link leads past the channels.
  while ((await focused()) !== "Skip to the channel") {
    await press("Shift+Tab");
  }
  await press("Enter", "Tab");
  assert.equal(await focused(), "Only you here");
  await press("Enter");
  await page.getByText("alice (you)").waitFor();
  await press("Escape");
  assert.equal(await page.getByText("alice (you)").isVisible(), false);
  await press("Tab");
  assert.equal(await focused(), "Leave");
  await press("Enter");
  await page.getByRole("heading", { name: "room", exact: true }).waitFor();
  assert.equal(gateway.members("room"), 1);
});

for (const colorScheme of ["light", "dark"]) {
  withPage(`nothing stands in the way of anyone, ${colorScheme}`, { colorScheme }, async (page, gateway) => {
    assert.deepEqual(await violations(page), []);
    await screenshot(page, `page-welcome-${colorScheme}`);
    await enter(page, "alice", "room");
    ["bob", "carol", "dave", "erin", "frank", "grace"].forEach((uid) => gateway.say(uid, "room", `I am ${uid}`));
    gateway.say("heidi", "room", "");
    gateway.say("sensor", "room", Buffer.from([0xff, 1, 2, 3]));
    gateway.say("bob", "room", "a long story ".repeat(200));
    await say(page, "and I am here");
    await page.getByText("and I am here").waitFor();
    assert.deepEqual(await violations(page), []);
    await screenshot(page, `page-room-${colorScheme}`);
    gateway.refuse = () => [1008, "not today"];
    gateway.closeAll(1001, "the server is stopping");
    await waitForState(page, "refused");
    assert.deepEqual(await violations(page), []);
  });
}

const PHONE = { viewport: { width: 360, height: 640 }, isMobile: true, hasTouch: true };

withPage("a phone has room for everything", PHONE, async (page, gateway, t) => {
  const fits = async () => {
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 360, `${width} pixels wide`);
  };
  await fits();
  await join(page, "alice", "a-channel-with-a-name-that-is-rather-long-for-a-phone");
  await settled(page);
  const channel = "a-channel-with-a-name-that-is-rather-long-for-a-phone";
  gateway.say("bob", channel, "w".repeat(300));
  gateway.say("bob", channel, Buffer.alloc(64, 0xff));
  await page.getByText("binary, 64 bytes").waitFor();
  await fits();
  await member(t, gateway.address, { uid: "bob-with-a-name-that-is-rather-long-too", channel });
  await page.getByText("2 here").click();
  await page.locator(".here li", { hasText: "bob-with-a-name-that-is-rather-long-too" }).waitFor();
  await fits();
  assert.deepEqual(await violations(page), []);
  await screenshot(page, "page-phone-here");
  gateway.refuse = () => [1013, "too slow: 1,048,576 bytes were waiting for it"];
  gateway.closeAll(4408, "too slow: 1,048,576 bytes were waiting for it");
  await waitForState(page, "waiting");
  await fits();
  const tops = [];
  const buttons = [/^Leave /, /^You are alice/, /^Theme/, /^Send/].map((name) => page.getByRole("button", { name }));
  for (const button of [...buttons, page.getByRole("link", { name: "Join a channel" })]) {
    const { x, y, width } = await button.boundingBox();
    assert.ok(x >= 0 && x + width <= 360, `${button} at ${x}`);
    assert.ok(width >= 24, `${button} is ${width} wide`);
    tops.push(y);
  }
  assert.equal(tops.filter((y) => y < 56).length, 4, `one row above: ${tops}`);
  await screenshot(page, "page-phone");
  assert.deepEqual(await violations(page), []);
});

withPage("who is here is said by number, and by name when asked", {}, async (page, gateway, t) => {
  const people = (uid) => member(t, gateway.address, { uid });
  await enter(page, "alice", "room");
  const here = page.locator(".here");
  await here.getByText("Only you here").waitFor();
  const bob = await people("bob");
  await people(MARKUP);
  await people("bob"); // in another tab
  await here.getByText("4 here").click();
  await here.getByText("alice (you)").waitFor();
  const names = () => here.locator("li").allTextContents();
  assert.deepEqual(await names(), [MARKUP, "alice (you)", "bob"]);
  assert.deepEqual(await violations(page), []);
  await screenshot(page, "page-here");
  bob.close();
  await here.getByText("3 here").waitFor();
  await page.getByRole("textbox", { name: "Message to room" }).click();
  assert.equal(await here.locator("ul").isVisible(), false);
  gateway.notify("room", { changes: { count: 5_003, joined: [], left: [] } });
  await here.getByText("5,003 here").click();
  await here.getByText("and 5,000 more").waitFor();
  gateway.refuse = () => [1013, "the server is full"];
  gateway.closeAll(1001, "the server is stopping");
  await waitForState(page, "waiting");
  assert.equal(await here.isVisible(), false, "nobody knows");
});

withPage("nothing moves for those who want that", { reducedMotion: "reduce" }, async (page, gateway) => {
  await enter(page, "alice", "room");
  gateway.say("bob", "room", "hello");
  await shows(page, ["bob: hello"]);
  gateway.refuse = () => [1013, "the server is full"];
  gateway.closeAll(1001, "the server is stopping");
  await waitForState(page, "waiting");
  assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
});

withPage("a theme that was chosen stays", { colorScheme: "light" }, async (page) => {
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await background();
  await page.getByRole("button", { name: "Theme: automatic" }).click();
  await page.getByRole("button", { name: "Theme: light" }).click();
  await page.getByRole("button", { name: "Theme: dark" }).waitFor();
  const dark = await background();
  assert.notEqual(dark, light);
  await page.reload();
  assert.equal(await background(), dark);
});

withPage("a channel may be called like any part of the page", {}, async (page, gateway) => {
  const names = ["room", "text", "main", "uid", "key", "join", "logs", "skip"];
  await enter(page, "alice", "one");
  for (const name of names) {
    await page.goto(`http://${gateway.address}/#${name}`);
    const field = page.getByRole("textbox", { name: `Message to ${name}` });
    await field.waitFor();
    await settled(page);
    assert.equal(await field.evaluate((element) => element === document.activeElement), true, name);
    assert.equal(await page.evaluate(() => document.getElementById(decodeURIComponent(location.hash.slice(1)))), null);
  }
  await page.reload();
  await page.getByRole("textbox", { name: "Message to skip" }).waitFor();
});

withPage("only messages count as new ones", {}, async (page, gateway) => {
  await scrolledUp(page, gateway);
  gateway.say("carol", "room", "");
  await page.getByText("carol joined").waitFor();
  gateway.say("bob", "room", "new");
  await page.getByRole("button", { name: "1 new message ↓" }).waitFor();
});

withPage("what was typed is there after a reload, in this tab only", {}, async (page, gateway) => {
  await enter(page, "alice", "room");
  const field = page.getByRole("textbox", { name: "Message to room" });
  await field.fill("half a sen");
  await page.reload();
  await settled(page);
  assert.equal(await field.inputValue(), "half a sen");
  await page.getByRole("button", { name: "Send" }).click();
  await shows(page, ["You: half a sen"]);
  await page.reload();
  await settled(page);
  assert.equal(await field.inputValue(), "");
  assert.ok(!(await page.evaluate(() => JSON.stringify(localStorage))).includes("half"));
});

withPage("addresses are links, and nothing else is", {}, async (page, gateway) => {
  await enter(page, "alice", "room");
  const text =
    "see https://example.org/a_(b)?c=d#e, (http://127.0.0.1:8076/). javascript:alert(1) data:text/html,x " +
    "ftp://example.org HTTPS://EXAMPLE.ORG/X! https:// <https://example.org/y>";
  gateway.say("bob", "room", text);
  await shows(page, [`bob: ${text}`]);
  const links = await page.locator(".message a").evaluateAll((found) =>
    found.map((link) => [link.textContent, link.href, link.rel.includes("noopener"), link.target]),
  );
  assert.deepEqual(links, [
    ["https://example.org/a_(b)?c=d#e", "https://example.org/a_(b)?c=d#e", true, "_blank"],
    ["http://127.0.0.1:8076/", "http://127.0.0.1:8076/", true, "_blank"],
    ["HTTPS://EXAMPLE.ORG/X", "https://example.org/X", true, "_blank"],
    ["https://example.org/y", "https://example.org/y", true, "_blank"],
  ]);
});

withPage("an empty channel says how to fill it", {}, async (page, gateway) => {
  await enter(page, "alice", "it's new");
  const link = `http://${gateway.address}/#${encodeURIComponent("it's new")}`;
  await page.getByText(link, { exact: true }).waitFor();
  await page.getByText("mles pub 'it'\\''s new' hello", { exact: true }).waitFor();
  assert.deepEqual(await violations(page), []);
  await screenshot(page, "page-empty");
  gateway.say("bob", "it's new", "");
  await page.getByText("bob joined").waitFor();
  await page.getByText("No messages yet").waitFor();
  gateway.say("bob", "it's new", "hello");
  await shows(page, ["bob: hello"]);
  assert.equal(await page.getByText("No messages yet").isVisible(), false);
});

withPage("a ring around the focus is for those who use the keyboard", {}, async (page) => {
  await enter(page, "alice", "room");
  const ring = () => page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  await page.getByRole("button", { name: /^Theme/ }).click();
  assert.equal(await ring(), "none");
  await page.keyboard.press("Tab");
  assert.equal(await ring(), "solid");
});

withPage("a name can be changed from where it is shown", {}, async (page, gateway) => {
  await enter(page, "alice", "room");
  await page.getByRole("button", { name: "You are alice. Change your name" }).click();
  await enter(page, "alicia", "room");
  await say(page, "it is me");
  await gateway.until(() => gateway.kept("room").length === 1);
  await page.getByRole("button", { name: "You are alicia. Change your name" }).waitFor();
});
