// What messages, names and times look like as text.

const FOLD_CHARACTERS = 1_200;
const FOLD_LINES = 14;
const SHOWN_CHARACTERS = 600;
const SHOWN_LINES = 8;
const PREVIEW_BYTES = 48;
const ROW_BYTES = 8; // fits a phone

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** `bytes` as text, or null if they are not UTF-8. */
export function textOf(bytes) {
  try {
    return utf8.decode(bytes);
  } catch {
    return null;
  }
}

/** The beginning of a long text, to be shown in its place; null if it is short. */
export function fold(text) {
  const lines = text.split("\n", FOLD_LINES + 1);
  if (text.length <= FOLD_CHARACTERS && lines.length <= FOLD_LINES) {
    return null;
  }
  const start = lines.slice(0, SHOWN_LINES).join("\n").slice(0, SHOWN_CHARACTERS);
  // Not through the middle of a character of two units.
  return `${start.replace(/[\ud800-\udbff]$/, "")}…`;
}

/** The first bytes in rows of hex digits and characters. */
export function hexDump(bytes) {
  const rows = [];
  for (let at = 0; at < Math.min(bytes.length, PREVIEW_BYTES); at += ROW_BYTES) {
    const row = Array.from(bytes.subarray(at, Math.min(at + ROW_BYTES, PREVIEW_BYTES)));
    const digits = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const characters = row.map((byte) =>
      byte > 0x1f && byte < 0x7f ? String.fromCharCode(byte) : "·",
    );
    rows.push(`${digits.padEnd(ROW_BYTES * 3)} ${characters.join("")}`);
  }
  return rows.join("\n") + (bytes.length > PREVIEW_BYTES ? "\n…" : "");
}

const numbers = new Intl.NumberFormat("en");

/** `5 bytes`, `1 byte`; `1,000` without `what`. */
export function count(number, what = "") {
  const digits = numbers.format(number);
  return what ? `${digits} ${what}${number === 1 ? "" : "s"}` : digits;
}

/** What is shown for a uid. */
export function nameOf(uid) {
  return uid.trim() || "(no name)";
}

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "medium" });

/** A `time` element for `date`. */
export function timeElement(date) {
  const time = document.createElement("time");
  time.dateTime = date.toISOString();
  time.title = calendar.format(date);
  time.textContent = clock.format(date);
  return time;
}

/** A hue from 0 to 359 that is always the same for a name. */
export function hueOf(name) {
  let sum = 0;
  for (const character of name) {
    sum = (sum * 31 + character.codePointAt(0)) % 65_521;
  }
  return (sum * 137) % 360;
}
