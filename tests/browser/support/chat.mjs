// What a person does on the page, for the tests.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core"), "utf8");

/** Fills in the form and joins. */
export async function join(page, uid, channel, key = "") {
  await page.getByLabel("Your name", { exact: true }).fill(uid);
  await page.getByLabel("Channel", { exact: true }).fill(channel);
  await page.getByLabel("Server key").fill(key);
  await page.getByRole("button", { name: "Join", exact: true }).click();
}

/** Waits until the channel that is shown is `joined`, `waiting` or `refused`. */
export function waitForState(page, state) {
  // A phone shows it in the list of channels.
  return page.locator(`.state[data-state="${state}"]`).waitFor({ state: "attached" });
}

/** Joins and waits for the end of the history. */
export async function enter(page, uid, channel, key) {
  await join(page, uid, channel, key);
  await settled(page);
}

/** Waits until the history of the channel that is shown is over. */
export async function settled(page) {
  await waitForState(page, "joined");
  await page.locator('.log:not([hidden])[aria-busy="false"]').waitFor();
}

export async function say(page, text) {
  await page.getByRole("textbox", { name: /^Message to / }).fill(text);
  await page.getByRole("button", { name: "Send" }).click();
}

/** The messages of the channel that is shown, as `sender: text`. */
export function messages(page) {
  return page.locator(".log:not([hidden]) .message").evaluateAll((rows) =>
    rows.map((row) => {
      const text = row.querySelector(".text, .binary");
      return `${row.querySelector(".from").textContent}: ${text.textContent}`;
    }),
  );
}

/** Waits until these messages are shown, and no others. */
export async function shows(page, wanted, within = 10_000) {
  const deadline = Date.now() + within;
  let seen = await messages(page);
  while (JSON.stringify(seen) !== JSON.stringify(wanted) && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 30));
    seen = await messages(page);
  }
  assert.deepEqual(seen, wanted);
}

/** What axe has to say against the page as it is now. */
export async function violations(page) {
  await finishAnimations(page);
  // Not through the page, whose policy forbids it.
  await page.evaluate(AXE);
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return found.violations.map(
    ({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join("; ")}`,
  );
}

/** Colours on their way are not those that are read. */
function finishAnimations(page) {
  return page.evaluate(() =>
    Promise.allSettled(
      document
        .getAnimations()
        .filter((animation) => animation.effect.getTiming().iterations !== Infinity)
        .map((animation) => animation.finished),
    ),
  );
}
