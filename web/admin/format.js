// Figures as text: numbers, bytes, rates and times, short enough for a cell of a table.

const THOUSANDS = ["", "k", "M", "G", "T"];
const BINARY = ["B", "KiB", "MiB", "GiB", "TiB"];
const exact = new Intl.NumberFormat("en");

/** What stands where a figure is not known. */
export const UNKNOWN = "–";

/** `number` in three digits, scaled down by `base` as often as it takes. */
function scaled(number, base, units) {
  let value = number;
  let unit = 0;
  while (value >= base && unit < units.length - 1) {
    value /= base;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  const shown = value.toFixed(digits).replace(/\.0+$/, "");
  return [shown, units[unit]];
}

/** Whether there is a figure. */
function isKnown(number) {
  return typeof number === "number" && Number.isFinite(number);
}

/** `1,234`, and `12.3k` from ten thousand on. */
export function number(value) {
  if (!isKnown(value)) return UNKNOWN;
  return value < 10_000 ? exact.format(Math.round(value)) : scaled(value, 1000, THOUSANDS).join("");
}

/** All digits: `1,234,567`. */
export function digits(value) {
  return isKnown(value) ? exact.format(value) : UNKNOWN;
}

/** A number per second, with a digit behind the point where it is small. */
export function rate(value) {
  if (!isKnown(value)) return UNKNOWN;
  return value > 0 && value < 10 ? `${Number(value.toFixed(1))}` : number(value);
}

/** `512 B`, `1.5 KiB`. */
export function bytes(value) {
  return isKnown(value) ? scaled(value, 1024, BINARY).join(" ") : UNKNOWN;
}

/** `12.5 MiB/s`. */
export function byteRate(value) {
  return isKnown(value) ? `${bytes(value)}/s` : UNKNOWN;
}

/** Microseconds as `250 µs`, `1.5 ms` or `2 s`. */
export function micros(value) {
  if (!isKnown(value)) return UNKNOWN;
  return scaled(value, 1000, ["µs", "ms", "s"]).join(" ");
}

/** A share as `42 %`. */
export function percent(share) {
  return isKnown(share) ? `${Math.round(share * 100)} %` : UNKNOWN;
}

const UNITS = [
  ["d", 86_400],
  ["h", 3_600],
  ["min", 60],
  ["s", 1],
];

/** Seconds in the two largest units that are not nothing: `3 d 4 h`, `12 s`. */
export function duration(seconds) {
  if (!isKnown(seconds)) return UNKNOWN;
  let rest = Math.max(0, Math.floor(seconds));
  const parts = [];
  for (const [unit, size] of UNITS) {
    const amount = Math.floor(rest / size);
    rest -= amount * size;
    if (amount > 0 || (unit === "s" && parts.length === 0)) parts.push(`${amount} ${unit}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

/** `slow_disconnects` as words. */
export function words(name) {
  return name.replaceAll("_", " ");
}
