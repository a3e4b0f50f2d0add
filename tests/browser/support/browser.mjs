// Chromium as the tests use it: headless, on its own, with everything noted that went wrong.

import { accessSync, constants, mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const PROGRAM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const SCREENSHOTS = fileURLToPath(new URL("../../../target/browser/", import.meta.url));
/** The longest wait for what must come, in ms: on a busy machine a browser takes its time. */
const PATIENCE = 60_000;

// No updates, no sync, no first steps: what goes over the network is what the page asked for.
const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Why tests with a browser cannot run here, or false: the `skip` of a test. */
export const noBrowser = reasonToSkip();

function reasonToSkip() {
  try {
    accessSync(PROGRAM, constants.X_OK);
    return false;
  } catch {
    return `no browser at ${PROGRAM}`;
  }
}

/** Starts Chromium. The caller closes it. */
export function launch() {
  return chromium.launch({ executablePath: PROGRAM, headless: true, args: ARGUMENTS, timeout: PATIENCE });
}

/**
 * Opens `url` as a new visitor: nothing is remembered from other pages. `options` are those of
 * playwright's `newContext`, such as `colorScheme` and `viewport`; `prepare` gets the page before
 * it loads. The result has the playwright `page` and what was noted about it.
 */
export async function open(browser, url, { prepare, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  const visit = watch(page);
  await prepare?.(page);
  await page.goto(url);
  return visit;
}

/** Notes what happens in `page` from now on. */
export function watch(page) {
  /** Errors and warnings on the console, and exceptions that nobody caught, in words. */
  const trouble = [];
  /** The URLs of all requests, those of WebSockets included. */
  const requests = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) {
      trouble.push(`console ${message.type()}: ${message.text()}`);
    }
  });
  page.on("pageerror", (error) => trouble.push(`uncaught: ${error.stack ?? error}`));
  page.on("crash", () => trouble.push("the page crashed"));
  page.on("request", (request) => requests.push(request.url()));
  page.on("websocket", (socket) => requests.push(socket.url()));
  return { page, trouble, requests, close: () => page.context().close() };
}

/** Those of `requests` that go to another host or port than `home` (`host:port`). */
export function strangers(requests, home) {
  const local = new Set(["about:", "blob:", "data:"]);
  return requests.filter((request) => {
    const url = new URL(request);
    return !local.has(url.protocol) && url.host !== home;
  });
}

/** Keeps a picture of `page` as `target/browser/NAME.png`. */
export async function screenshot(page, name, options = {}) {
  mkdirSync(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: `${SCREENSHOTS}${name}.png`, ...options });
}
