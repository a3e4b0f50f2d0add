// What the admin listener is asked, and how it says no.

import { adminToken } from "../store.js";

const PATIENCE = 10_000; // milliseconds for an answer

/** An answer that is not the one asked for. `status` is 0 where there was none. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** `path` with a query: values that are empty are left out. */
export function query(path, values) {
  const set = Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const search = new URLSearchParams(set).toString();
  return search ? `${path}?${search}` : path;
}

/** Gets `path` below /api/. Throws an ApiError. */
export function get(path) {
  return ask("GET", path);
}

/** Has something done. Throws an ApiError. */
export function act(method, path) {
  return ask(method, path);
}

async function ask(method, path) {
  const token = adminToken.get();
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  let response;
  let text;
  try {
    response = await fetch(new URL(`api/${path}`, document.baseURI), {
      method,
      headers,
      cache: "no-store",
      signal: AbortSignal.timeout(PATIENCE),
    });
    text = await response.text();
  } catch (error) {
    const why = error.name === "TimeoutError" ? "The server does not answer." : "The server cannot be reached.";
    throw new ApiError(0, why);
  }
  if (!response.ok) throw new ApiError(response.status, reason(response, text));
  return text.trim() === "" ? null : parsed(text);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new ApiError(0, "The answer is not from an admin listener.");
  }
}

function reason(response, text) {
  try {
    const { detail, title } = JSON.parse(text);
    return detail ?? title ?? `Status ${response.status}`;
  } catch {
    return text.trim().slice(0, 200) || `Status ${response.status}`;
  }
}
