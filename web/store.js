// What the page remembers: names and channels in the browser, the key and
// what was typed in the tab. A browser may
// refuse to store anything; the page then works without.

const PREFIX = "mles.";

function read(storage, name) {
  try {
    return storage().getItem(PREFIX + name);
  } catch {
    return null;
  }
}

function write(storage, name, value) {
  try {
    if (value) {
      storage().setItem(PREFIX + name, value);
    } else {
      storage().removeItem(PREFIX + name);
    }
  } catch {
    // Full or forbidden: it is remembered until the page is left.
  }
}

// Looking at these throws where storage is forbidden.
const browser = () => window.localStorage;
const tab = () => window.sessionStorage;

export const uid = {
  get: () => read(browser, "uid") ?? "",
  set: (value) => write(browser, "uid", value),
};

export const theme = {
  get: () => read(browser, "theme") ?? "",
  set: (value) => write(browser, "theme", value),
};

export const key = {
  get: () => read(tab, "key") ?? "",
  set: (value) => write(tab, "key", value),
};

/** What the dashboard shows to the admin listener; in the tab. */
export const adminToken = {
  get: () => read(tab, "admin-token") ?? "",
  set: (value) => write(tab, "admin-token", value),
};

/** What was typed and not sent, by channel; in the tab. */
export const drafts = {
  get: (channel) => read(tab, `draft.${channel}`) ?? "",
  set: (channel, text) => write(tab, `draft.${channel}`, text),
};

export const channels = {
  get() {
    try {
      const names = JSON.parse(read(browser, "channels") ?? "[]");
      return Array.isArray(names) ? names.filter((name) => typeof name === "string" && name) : [];
    } catch {
      return [];
    }
  },
  set: (names) => write(browser, "channels", names.length > 0 ? JSON.stringify(names) : ""),
};
