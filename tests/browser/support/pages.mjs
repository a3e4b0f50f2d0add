// A browser for all tests of a file, and tests with a page in it.

import { after, before, test } from "node:test";
import { launch, noBrowser, open } from "./browser.mjs";
import { startGateway } from "./gateway.mjs";

/** Starts a browser before the tests of a file, and closes it after them. Call the result to get it. */
export function useBrowser() {
  let browser;
  before(async () => {
    browser = noBrowser ? null : await launch();
  });
  after(() => browser?.close());
  return () => browser;
}

/**
 * Makes a function that defines a test with a server and a page of it: `body` gets the page, the server,
 * the visit and the context of the test.
 */
export function usePages() {
  const browser = useBrowser();
  return (name, options, body) =>
    test(name, { skip: noBrowser }, async (t) => {
      const gateway = await startGateway();
      const visit = await open(browser(), `http://${gateway.address}/`, options);
      t.after(async () => {
        await visit.close();
        await gateway.stop();
      });
      await body(visit.page, gateway, visit, t);
    });
}
