// Reports of `loadgen` as a browser shows them: made by short runs here, and from results that were
// kept. Pictures of them stay in target/browser.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { after, before, test } from "node:test";
import axe from "axe-core";
import { launch, noBrowser, open, screenshot } from "./support/browser.mjs";
import { KEPT, loadgen, noLoadgen } from "./support/loadgen.mjs";
import { noServer } from "./support/server.mjs";

const skip = noBrowser || noServer || noLoadgen;

const VIEWS = {
  "desktop-light": { colorScheme: "light", viewport: { width: 1280, height: 900 } },
  "desktop-dark": { colorScheme: "dark", viewport: { width: 1280, height: 900 } },
  "phone-light": { colorScheme: "light", viewport: { width: 360, height: 740 }, isMobile: true },
  "phone-dark": { colorScheme: "dark", viewport: { width: 360, height: 740 }, isMobile: true },
};

/** What each report has to show. */
const REPORTS = {
  // The plots: for each of two rates by percentile and three by second. Two rates make no line.
  measured: {
    brokers: ["mles", "null"],
    plots: 8,
    bars: { server_us_per_delivery: 3, deliveries_per_second: 1 },
    make: (html) =>
      loadgen([
        "compare", "--brokers", "mles,null", "--scenario", "fanout,latency", "--rates", "100,300",
        "--rounds", "2", "--duration", "5s", "--warm-up", "100ms", "--html", html,
      ]),
  },
  idle: {
    brokers: ["mles", "null"],
    plots: 0,
    bars: { bytes_per_idle_subscriber: 1, rss_empty_mib: 1, rss_full_mib: 1 },
    make: (html) =>
      loadgen([
        "idle", "--brokers", "mles,null", "--counts", "20,200", "--per-channel", "20", "--settle", "100ms",
        "--rounds", "1", "--html", html,
      ]),
  },
  // The same scenario with runs that do not count: no loadgen sends that early.
  invalid: {
    brokers: ["mles", "null"],
    plots: 1,
    bars: { server_us_per_delivery: 1 },
    make: (html) =>
      loadgen([
        "compare", "--brokers", "mles,null", "--scenario", "latency", "--rates", "100", "--max-lag", "1us",
        "--rounds", "2", "--duration", "1s", "--warm-up", "100ms", "--html", html,
      ]),
  },
  kept: {
    brokers: ["mles", "nats", "redis"],
    plots: 0,
    bars: { server_us_per_delivery: 6, deliveries_per_second: 6 },
    make: (html) => loadgen(["render", KEPT, "--html", html]),
  },
};

let browser;
let directory;

before(async () => {
  if (skip) return;
  directory = mkdtempSync(join(tmpdir(), "report-"));
  for (const [name, report] of Object.entries(REPORTS)) {
    report.file = join(directory, `${name}.html`);
    report.url = pathToFileURL(report.file).href;
    await report.make(report.file);
  }
  browser = await launch();
});

after(async () => {
  await browser?.close();
  if (directory) rmSync(directory, { recursive: true });
});

/** The plots with lines, as they are drawn: their size, and the size of each broker's lines. */
function drawnPlots(page) {
  return page.locator("figure.plot").evaluateAll((figures) =>
    figures.map((figure) => {
      const { width, height } = figure.querySelector("svg").getBoundingClientRect();
      const series = [...figure.querySelectorAll(".series")].map((one) => ({
        broker: one.dataset.broker,
        lines: [...one.querySelectorAll(".line")].map((line) => line.getBBox().width),
        stroke: getComputedStyle(one.querySelector(".line")).stroke,
        marks: one.querySelectorAll(".mark > title").length,
      }));
      return {
        title: figure.querySelector("figcaption").textContent,
        words: figure.querySelector("svg").getAttribute("aria-label"),
        ticks: [...figure.querySelectorAll(".axis text")].map((text) => text.textContent),
        width,
        height,
        series,
      };
    }),
  );
}

/** The tables with bars, as they are drawn, by the section they are in. */
function drawnBars(page) {
  return page.locator("table.bars").evaluateAll((tables) =>
    tables.map((table) => ({
      section: table.closest("section").id,
      rows: [...table.querySelectorAll("tr")].map((row) => ({
        broker: row.dataset.broker,
        fill: getComputedStyle(row.querySelector(".fill")).fill,
        width: row.querySelector(".fill").getBoundingClientRect().width,
        value: row.querySelector(".value").textContent,
      })),
    })),
  );
}

function assertPlots(plots, { brokers, plots: count }) {
  assert.equal(plots.length, count);
  for (const { title, words, ticks, width, height, series } of plots) {
    assert.ok(width > 250 && height > 100, `${title}: ${width} x ${height}`);
    assert.ok(words.startsWith(title), words);
    assert.ok(ticks.length >= 4 && ticks.every((tick) => !/NaN|inf/.test(tick)), `${title}: ${ticks}`);
    assert.deepEqual(series.map(({ broker }) => broker).sort(), brokers, title);
    for (const { broker, lines, marks } of series) {
      assert.ok(lines.length > 0 && lines.every((line) => line > 50), `${title}, ${broker}: ${lines}`);
      assert.ok(marks > 0, `${title}, ${broker}`);
    }
    assert.equal(new Set(series.map(({ stroke }) => stroke)).size, brokers.length, `${title}: colours`);
  }
}

function assertBars(bars, { brokers, bars: sections }) {
  const counts = {};
  for (const { section, rows } of bars) {
    counts[section] = (counts[section] ?? 0) + 1;
    assert.deepEqual(rows.map(({ broker }) => broker).sort(), brokers, section);
    assert.equal(new Set(rows.map(({ fill }) => fill)).size, brokers.length, `${section}: colours`);
    for (const { broker, value, width } of rows) {
      assert.match(value, /^-?[\d.,]+ ?\S+/, `${section}, ${broker}`);
      assert.ok(width >= 0, `${section}, ${broker}`);
    }
    assert.ok(Math.max(...rows.map(({ width }) => width)) > 20, `${section}: no bar is seen`);
  }
  assert.deepEqual(counts, sections);
}

/** The summary comes first, and headings and subtitles are words for people. */
async function assertWords(page) {
  const headings = await page.locator("h2").allTextContents();
  assert.equal(headings[0], "Summary", headings.join(", "));
  const summary = await page.locator("#summary").textContent();
  assert.match(summary, /mles.*, .*; \d+ scenarios?, \d+ rounds? each/);
  const titles = await page.locator("article h3, table.bars caption").allTextContents();
  assert.ok(titles.length > 0);
  for (const title of titles) {
    assert.match(title, /^[\d,]+ .* \S+$/, "in words, and the name for the command line after them");
  }
  for (const words of await page.locator("h1, h2, h3, caption, .hint, ul.facts").allTextContents()) {
    assert.doesNotMatch(words, /[{}"[_]/);
  }
}

for (const [name, report] of Object.entries(REPORTS)) {
  for (const [view, options] of Object.entries(VIEWS)) {
    test(`the report "${name}" is drawn whole and by itself: ${view}`, { skip }, async (t) => {
      const visit = await open(browser, report.url, options);
      t.after(() => visit.close());
      const { page } = visit;
      await screenshot(page, `report-${name}-${view}`, { fullPage: true });
      assertPlots(await drawnPlots(page), report);
      assertBars(await drawnBars(page), report);
      await assertWords(page);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(overflow <= 0, `wider than the screen by ${overflow}`);
      const colour = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      const [red] = colour.match(/\d+/).map(Number);
      assert.equal(red < 128, options.colorScheme === "dark", colour);
      assert.deepEqual(visit.trouble, []);
      assert.deepEqual(visit.requests.filter((url) => url !== report.url && !url.startsWith("data:")), []);
    });

    test(`nobody is left out of the report "${name}": ${view}`, { skip }, async (t) => {
      const { page, close } = await open(browser, report.url, options);
      t.after(close);
      await page.locator("details").evaluateAll((all) => all.forEach((one) => (one.open = true)));
      await page.evaluate(axe.source);
      const { violations } = await page.evaluate(() => axe.run());
      const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join("\n")}`);
      assert.deepEqual(found, []);
    });
  }
}

test("a claim is made beyond noise only, and first where something is lost", { skip }, async (t) => {
  const { page, close } = await open(browser, REPORTS.kept.url);
  t.after(close);
  const lists = await page.locator("#summary .findings").evaluateAll((all) =>
    all.map((list) => ({ title: list.querySelector("h3").textContent, isOpen: list.open, text: list.textContent })),
  );
  const titles = lists.map(({ title }) => title);
  assert.deepEqual(titles, ["mles is behind", "mles is ahead", "No difference beyond noise"].filter((it) => titles.includes(it)));
  const [ahead] = lists.filter(({ title }) => title === "mles is ahead");
  assert.ok(ahead.isOpen);
  assert.match(ahead.text, /1 publisher → 1,000 subscribers, 64 bytes, pipelined/);
  assert.match(ahead.text, /server CPU per delivery: mles [\d.]+ ns, [\d.]+ × less than nats \([\d.]+ ns\), [\d.]+ × less than redis/);
  const verdict = await page.locator("#summary strong").first().textContent();
  const counts = await page.locator("#summary .findings .badge").allTextContents();
  const [all, ...counted] = [verdict.match(/In (\d+) comparisons/)[1], ...counts].map(Number);
  assert.equal(counted.reduce((sum, count) => sum + count, 0), all, verdict);
  const ratios = await page.locator("table.bars .ratio").allTextContents();
  for (const ratio of ratios) assert.match(ratio, /^(\d\.\d|[1-9]\d|0\.0*[1-9]\d|[\d,]*0) ×$/, "two digits");
});

test("runs that do not count are pale everywhere, make no claim and are named first", { skip }, async (t) => {
  const { page, close } = await open(browser, REPORTS.invalid.url);
  t.after(close);
  const summary = await page.locator("#summary").textContent();
  assert.match(summary, /No claim is made/);
  assert.equal((summary.match(/INVALID latency-100 /g) ?? []).length, 4, summary);
  assert.doesNotMatch(summary, /is ahead|is behind/);
  const captions = await page.locator("caption").allTextContents();
  assert.ok(captions.every((caption) => !caption.includes("rounds that count")), captions.join("\n"));
  assert.ok(captions.some((caption) => caption.endsWith(": not counted")), captions.join("\n"));
  const sound = await page.locator(".series:not(.pale), .bars tr:not(.pale), .cells tbody tr:not(.pale)").count();
  assert.equal(sound, 0);
  const drawn = page.locator(".series.pale");
  assert.equal(await drawn.count(), 2);
  const opacity = await drawn.first().evaluate((one) => Number(getComputedStyle(one).opacity));
  assert.ok(opacity < 0.6, `${opacity}`);
  assert.deepEqual(await page.locator(".bars .ratio").allTextContents(), ["", ""]);
});

test("a broker is hidden and shown with the keyboard", { skip }, async (t) => {
  const { page, close } = await open(browser, REPORTS.measured.url);
  t.after(close);
  const shown = (broker) =>
    page.locator(`[data-broker="${broker}"]`).evaluateAll((all) => all.filter((one) => one.getClientRects().length).length);
  const all = await shown("null");
  assert.ok(all > REPORTS.measured.plots, "in plots and bars");
  const focused = () => page.evaluate(() => document.activeElement.id);
  for (let tabs = 0; tabs < 20 && (await focused()) !== "show-null"; tabs += 1) {
    await page.keyboard.press("Tab");
  }
  assert.equal(await focused(), "show-null");
  await page.keyboard.press("Space");
  assert.equal(await shown("null"), 0);
  assert.equal(await shown("mles"), all);
  await page.keyboard.press("Space");
  assert.equal(await shown("null"), all);
});

test("the report says what was compared and how to do it again", { skip }, async (t) => {
  const { page, close } = await open(browser, REPORTS.measured.url);
  t.after(close);
  const command = await page.locator("#repeat code").textContent();
  assert.match(command, /^loadgen compare --brokers mles,null .* --html \S+$/);
  const brokers = await page.locator("#brokers").textContent();
  assert.match(brokers, /mles serve --listen 127\.0\.0\.1:/);
  assert.match(await page.locator("#environment").textContent(), /Linux \d+\./);
});
