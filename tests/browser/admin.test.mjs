// The dashboard of the admin listener. Most of it is shown with a stand-in that answers what tests/data/admin has.

import assert from "node:assert/strict";
import { test } from "node:test";
import { noBrowser, open, screenshot, strangers } from "./support/browser.mjs";
import { answer, startAdmin } from "./support/admin.mjs";
import { violations } from "./support/chat.mjs";
import { useBrowser } from "./support/pages.mjs";

const browser = useBrowser();

/** A test with a listener and a page of it, in which nothing may go wrong but what `mayFail` matches. */
function withDashboard(name, body, { hash = "", prepare = () => {}, mayFail = null, ...options } = {}) {
  test(name, { skip: noBrowser, timeout: 120_000 }, async (t) => {
    const admin = await startAdmin();
    t.after(() => admin.stop());
    prepare(admin);
    const visit = await open(browser(), `http://${admin.address}/${hash}`, options);
    t.after(() => visit.close());
    await body(visit.page, admin);
    assert.deepEqual(visit.trouble.filter((line) => !mayFail?.test(line)), []);
    assert.deepEqual(strangers(visit.requests, admin.address), []);
  });
}

/** The table with a label. */
const table = (page, label) => page.getByRole("group", { name: label, exact: true });

/** The texts of a table's row that has `name`. */
async function row(page, label, name) {
  const found = table(page, label).getByRole("row").filter({ hasText: name });
  await found.first().waitFor();
  return found.first().locator("th, td").allTextContents();
}

/** Waits until `condition()` holds. */
async function until(condition, within = 15_000) {
  const deadline = Date.now() + within;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${within} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

/** The figure on a card. */
const figure = (page, title) => page.locator(".card", { has: page.getByRole("heading", { name: title, exact: true }) }).locator(".value");

withDashboard("everything is seen at a glance", async (page) => {
  await page.locator('.state[data-state="running"]').waitFor();
  await page.getByText("mles 0.1.0, up 3 d 4 h, pid 4242").waitFor();
  await page.getByText("tcp 127.0.0.1:8077, ws 127.0.0.1:8076").waitFor();
  assert.equal(await figure(page, "Sessions").textContent(), "1,178");
  assert.equal(await figure(page, "Memory").textContent(), "45 MiB");
  const shard = await row(page, "Shards side by side", "congested");
  shard.splice(3, 2); // what it publishes and delivers is not known yet, or is
  assert.deepEqual(shard, ["1", "93 %", "2.40 ms", "538", "22", "508 KiB", "13", "1.90 ms", "congested"]);
  const [name, rate] = await row(page, "Busiest channels", "market.quotes");
  assert.deepEqual([name, rate], ["market.quotes", "4,211"]);
  const slow = await row(page, "Slowest members", "slow-phone");
  assert.deepEqual(slow.slice(0, 6), ["slow-phone", "market.quotes", "508 KiB", "stalled 4 s", "192.0.2.17:517", "ws"]);
  // Who is not behind is not among those who are, and who only waits for others is not either.
  assert.equal(await table(page, "Slowest members").getByRole("row").count(), 3);
  const publisher = await row(page, "Busiest publishers", "alice");
  assert.deepEqual(publisher.slice(0, 4), ["alice", "chat", "0.5", "paused"]);
  const idle = await row(page, "Shards side by side", "flush 30 %, session 10 %");
  assert.equal(idle[1], "42 %");
  const link = await row(page, "Links to the upstream server", "refused");
  assert.equal(link.at(-1), "the upstream closed the connection at the join");
});

withDashboard("rates are what counters grow by, and plots show them", async (page, admin) => {
  await until(async () => /^[1-9][\d.,k]*\/s$/.test(await figure(page, "Delivered").textContent()));
  const plot = page.getByRole("img", { name: /^Delivered: / });
  const line = plot.locator("path.line").first();
  await until(async () => (await line.getAttribute("d")).includes("L"));
  assert.match(await plot.getAttribute("aria-label"), /messages per second [\d.k,]+ now, [\d.k,]+ to [\d.k,]+ in the last ten minutes/);
  // With the keyboard: the newest point, and the one before which there is nothing.
  await plot.focus();
  await page.keyboard.press("End");
  const readout = plot.locator(".readout");
  assert.match(await readout.textContent(), /^now: [\d.k,]+$/);
  await page.keyboard.press("Home");
  await until(async () => /^\d+ s ago: /.test(await readout.textContent()));
  await page.keyboard.press("Escape");
  await readout.waitFor({ state: "hidden" });
  assert.ok(admin.asked.includes("channels?sort=rate&limit=8"), admin.asked.join("\n"));
});

withDashboard("what is lost is told, in words and with its number", async (page, admin) => {
  // What was lost before the page was opened is there, too.
  const before = await row(page, "Troubles since the start", "messages that a member did not get");
  assert.equal(before[1], "0");
  assert.ok(Number(before[3]) > 0, before.join());
  admin.growth.dropped_frames = 3;
  await until(async () => Number((await row(page, "Troubles since the start", "messages that a member did not get"))[1]) >= 3);
});

withDashboard("where nothing was lost, that is said", async (page) => {
  await page.getByText("Nothing was lost or refused since the server was started.").waitFor();
}, {
  prepare: ({ answers: { server } }) => {
    for (const name of Object.keys(server.totals)) server.totals[name] = 0;
  },
});

withDashboard("a restart makes no rates, and a server that is gone is told and found again", async (page, admin) => {
  await until(async () => /^[1-9]/.test(await figure(page, "Published").textContent()));
  const { port } = admin;
  await admin.stop();
  await page.getByText("The server cannot be reached. What is shown is from before; trying again.").waitFor();
  await page.locator('.state[data-state="gone"]').waitFor();
  assert.deepEqual(await violations(page), []);
  await screenshot(page, "admin-gone");
  admin.answers.server = { ...answer("server"), pid: 4243, totals: Object.fromEntries(Object.keys(answer("server").totals).map((name) => [name, 0])) };
  await admin.start(port);
  await page.getByText("pid 4243").waitFor();
  await page.locator('.state[data-state="running"]').waitFor();
  await until(async () => !(await page.locator(".banner").isVisible()));
  assert.doesNotMatch(await figure(page, "Published").textContent(), /-/);
}, { mayFail: /net::ERR_/ });

withDashboard("a token is asked for, and kept in the tab", async (page, admin) => {
  await page.getByRole("heading", { name: "Enter the token" }).waitFor();
  assert.deepEqual(await violations(page), []);
  await screenshot(page, "admin-token");
  await page.getByLabel("Token").fill("wrong");
  await page.getByRole("button", { name: "Show the dashboard" }).click();
  await page.getByText("the token is wrong").waitFor();
  await page.getByLabel("Token").fill("a good token");
  await page.keyboard.press("Enter");
  await page.locator('.state[data-state="running"]').waitFor();
  await page.reload();
  await page.locator('.state[data-state="running"]').waitFor();
  assert.equal(await page.getByRole("heading", { name: "Enter the token" }).isVisible(), false);
  admin.token = "another";
  await page.getByRole("heading", { name: "Enter the token" }).waitFor();
}, { prepare: (admin) => (admin.token = "a good token"), mayFail: /401/ });

withDashboard("a session is ended only after the reader has said so", async (page, admin) => {
  await page.getByRole("button", { name: "End the session of slow-phone in market.quotes" }).click();
  const dialog = page.getByRole("dialog", { name: "End this session?" });
  await dialog.getByText("slow-phone in market.quotes.").waitFor();
  assert.deepEqual(await violations(page), []);
  // Enter does what is least.
  await page.keyboard.press("Enter");
  await dialog.waitFor({ state: "hidden" });
  assert.deepEqual(admin.done, []);
  await page.getByRole("button", { name: "End the session of slow-phone in market.quotes" }).click();
  await dialog.getByRole("button", { name: "End the session" }).click();
  await dialog.getByText("The session was ended.").waitFor();
  assert.deepEqual(admin.done, ["POST /api/sessions/17/end"]);
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "hidden" });
});

withDashboard("a reload says what has changed, and why it was refused", async (page, admin) => {
  await page.getByRole("button", { name: "Reload" }).click();
  const dialog = page.getByRole("dialog", { name: "Reload the settings?" });
  await dialog.getByRole("button", { name: "Reload" }).click();
  await dialog.getByText("Needs a restart:").waitFor();
  const { changed, needs_restart } = answer("reload");
  const texts = [...changed, ...needs_restart, "ws 127.0.0.1:8079", "Sessions ended that have lost their rights: 2"];
  for (const text of texts) await dialog.getByText(text, { exact: true }).waitFor();
  await dialog.getByRole("button", { name: "Close" }).click();
  admin.refuses = 409;
  await page.getByRole("button", { name: "Reload" }).click();
  await dialog.getByRole("button", { name: "Reload" }).click();
  await dialog.getByText("line 3 of /etc/mles/mles.toml: unknown key").waitFor();
}, { mayFail: /409/ });

withDashboard("draining is asked for twice", async (page, admin) => {
  await page.getByRole("button", { name: "Drain" }).click();
  const dialog = page.getByRole("dialog", { name: "Drain and stop the server?" });
  await dialog.getByRole("button", { name: "Drain and stop" }).click();
  await dialog.getByText("The server is draining.").waitFor();
  assert.deepEqual(admin.done, ["POST /api/drain"]);
  admin.answers.server.state = "draining";
  await page.locator('.state[data-state="draining"]').waitFor();
});

withDashboard("a channel is found, and its history cleared", async (page, admin) => {
  await page.getByRole("link", { name: "market.quotes" }).first().click();
  await page.getByRole("heading", { name: "market.quotes", exact: true }).waitFor();
  await page.getByText("9f3c0a7b5d2e1846:37894").waitFor();
  await row(page, "Members, slowest first", "slow-phone");
  await page.getByText("Settings of this channel").click();
  await page.getByText("queue bytes").waitFor();
  assert.deepEqual(await violations(page), []);
  await page.getByRole("button", { name: "Clear the history" }).click();
  const dialog = page.getByRole("dialog", { name: "Clear the history?" });
  await dialog.getByRole("button", { name: "Clear the history" }).click();
  await dialog.getByText("The history is empty.").waitFor();
  assert.deepEqual(admin.done, ["POST /api/channels/market.quotes/clear"]);
});

withDashboard("a channel that is not there is told", async (page) => {
  await page.getByLabel("Name of a channel").fill("no/such channel");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "no/such channel", exact: true }).waitFor();
  await page.getByText("there is no such channel").waitFor();
}, { hash: "#/channels", mayFail: /404/ });

withDashboard("channels come in the order that is asked for", async (page, admin) => {
  await table(page, "Channels").getByRole("button", { name: "Members" }).click();
  await page.locator('th[aria-sort="descending"]', { hasText: "Members" }).waitFor();
  assert.ok(admin.asked.some((path) => path.startsWith("channels?sort=members")));
  admin.answers.channels.next = "quiet";
  await page.getByRole("button", { name: "Show more" }).click();
  await until(() => admin.asked.some((path) => path === "channels?sort=members&limit=100"));
}, { hash: "#/channels" });

withDashboard("sessions are found by channel and uid", async (page, admin) => {
  await page.getByLabel("Channel", { exact: true }).fill("chat");
  await page.getByLabel("Uid", { exact: true }).fill("alice");
  await until(() => admin.asked.includes("sessions?sort=queued&channel=chat&uid=alice&limit=50"));
  // Names are text, whatever they look like.
  const [uid] = await row(page, "Sessions", "onerror");
  assert.equal(uid, "<img src=x onerror=alert(1)>");
}, { hash: "#/sessions" });

withDashboard("a ban is lifted", async (page, admin) => {
  await row(page, "Banned addresses", "198.51.100.7");
  await page.getByRole("button", { name: "Lift the ban of 198.51.100.7" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Lift the ban" }).click();
  await page.getByText("The ban is lifted.").waitFor();
  assert.deepEqual(admin.done, ["DELETE /api/bans/198.51.100.7"]);
}, { hash: "#/bans" });

withDashboard("a part that the server does not have leaves the others as they are", async (page) => {
  await page.getByText("there is nothing here").first().waitFor();
  await row(page, "Busiest channels", "market.quotes");
  await row(page, "Shards side by side", "congested");
}, { prepare: (admin) => delete admin.answers.links, mayFail: /404/ });

withDashboard("nothing is asked while nobody looks", async (page, admin) => {
  await page.locator('.state[data-state="running"]').waitFor();
  await page.evaluate(() => {
    Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  });
  // What was under way ends; then there is silence for longer than two periods.
  await page.waitForTimeout(500);
  const asked = admin.asked.length;
  await page.waitForTimeout(2_500);
  assert.equal(admin.asked.length, asked);
  await page.evaluate(() => {
    delete document.visibilityState;
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await until(() => admin.asked.length > asked);
});

withDashboard("the keyboard leads through the dashboard, and stays where it is", async (page) => {
  await row(page, "Slowest members", "slow-phone");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the figures");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.tagName), "MAIN");
  const end = page.getByRole("button", { name: "End the session of alice in chat" });
  await end.focus();
  await page.waitForTimeout(2_500); // two updates
  assert.equal(await end.evaluate((button) => button === document.activeElement), true);
});

const VIEWS = {
  "light": { colorScheme: "light" },
  "dark": { colorScheme: "dark" },
  "phone": { colorScheme: "dark", viewport: { width: 360, height: 740 }, isMobile: true },
};

for (const [name, options] of Object.entries(VIEWS)) {
  withDashboard(`the dashboard is for everyone: ${name}`, async (page) => {
    await row(page, "Slowest members", "slow-phone");
    await until(async () => /^[1-9]/.test(await figure(page, "Published").textContent()));
    assert.deepEqual(await violations(page), []);
    await screenshot(page, `admin-${name}`);
    assert.doesNotMatch(await page.locator("main").innerText(), /undefined|NaN|\[object/);
    for (const view of ["Channels", "Sessions", "Links", "Bans"]) {
      await page.getByRole("link", { name: view, exact: true }).click();
      await page.getByRole("heading", { name: view, level: 1 }).waitFor();
      await page.locator("tbody tr").first().waitFor();
      assert.deepEqual(await violations(page), [], view);
      assert.doesNotMatch(await page.locator("main").innerText(), /undefined|NaN|\[object/);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(overflow <= 0, `${view} is wider than the screen by ${overflow}`);
      await screenshot(page, `admin-${name}-${view.toLowerCase()}`);
    }
  }, options);
}
