// One figure with its last ten minutes as lines.

import { make, setText, svg } from "./dom.js";

const HEIGHT = 132;
const TOP = 10;
const BOTTOM = 20;
const LEFT = 52;
const RIGHT = 6;
const DEFAULT_WIDTH = 320;
const MINUTE = 60_000;
/** Spans of the axis of time in minutes: what is known soon fills the plot. */
const MINUTES = [1, 2, 5, 10];

/** The next round number from `value` on: 1, 2 or 5 with noughts, or a power of two with `base` 1024. */
export function ceiling(value, base) {
  if (!(value > 0)) return base === 1024 ? base : 1;
  if (base === 1024 && value >= 1024) return 2 ** Math.ceil(Math.log2(value));
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= value * (1 - 1e-9));
  return Math.max(1, step * power);
}

/** A card: a title, what the figure is now, and a plot that can be read at any point with the pointer or the arrow keys. */
export class Plot {
  element;
  #title;
  #series;
  #format;
  #base;
  #value = make("p", { class: "value" });
  #note = make("p", { class: "hint" });
  #readout = make("p", { class: "readout", hidden: true });
  #frame = make("div", { class: "plot", tabindex: "0", role: "img" });
  #svg = svg("svg", { "aria-hidden": "true", height: HEIGHT });
  #paths;
  #ticks = [0, 0.5, 1].map(() => svg("text", { class: "tick", x: LEFT - 6, "text-anchor": "end" }));
  #grid = [0, 0.5, 1].map(() => svg("line", { class: "grid" }));
  #times = ["start", "middle", "end"].map((anchor) => svg("text", { class: "tick", y: HEIGHT - 4, "text-anchor": anchor }));
  #cursor = svg("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  #width = DEFAULT_WIDTH;
  #points = [];
  /** Milliseconds that the axis of time shows. */
  #span = MINUTE;
  /** Where the reader is, in milliseconds before the last sample; null if nowhere. */
  #looked = null;

  /**
   * `series` are `{ name, label }`: the name of a value in the samples, and what it is called; `format` makes text of a
   * value; `base` is 1024 for bytes.
   */
  constructor(title, series, format, base = 1000) {
    this.#title = title;
    this.#series = series;
    this.#format = format;
    this.#base = base;
    this.#paths = series.map((_, at) => svg("path", { class: `line line-${at}` }));
    this.#svg.append(...this.#grid, ...this.#ticks, ...this.#times, ...this.#paths, this.#cursor);
    this.#frame.append(this.#svg, this.#readout);
    const legend = make("ul", { class: "legend" });
    if (series.length > 1) {
      legend.append(...series.map(({ label }, at) => make("li", {}, make("span", { class: `key line-${at}` }), label)));
    }
    const heading = make("h3", {}, title);
    this.element = make("article", { class: "card" }, heading, this.#value, this.#note, this.#frame, legend);
    this.#listen();
    new ResizeObserver(([{ contentRect }]) => {
      this.#width = Math.max(160, contentRect.width);
      this.#draw();
    }).observe(this.#frame);
  }

  /** Shows samples, and `value` with a `note` above them. */
  show(points, value, note) {
    this.#points = points;
    setText(this.#value, value);
    setText(this.#note, note);
    this.#draw();
  }

  #listen() {
    this.#frame.addEventListener("pointermove", ({ clientX }) => {
      const share = (clientX - this.#frame.getBoundingClientRect().left - LEFT) / (this.#width - LEFT - RIGHT);
      this.#look(this.#span * (1 - Math.min(1, Math.max(0, share))));
    });
    this.#frame.addEventListener("pointerleave", () => this.#look(null));
    this.#frame.addEventListener("blur", () => this.#look(null));
    this.#frame.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: 10_000, ArrowRight: -10_000, PageUp: MINUTE, PageDown: -MINUTE }[event.key];
      if (step !== undefined) {
        this.#look(Math.min(this.#span, Math.max(0, (this.#looked ?? 0) + step)));
      } else if (event.key === "Home") {
        this.#look(this.#span);
      } else if (event.key === "End") {
        this.#look(0);
      } else if (event.key === "Escape") {
        this.#look(null);
      } else {
        return;
      }
      event.preventDefault();
    });
  }

  #look(before) {
    this.#looked = before;
    this.#draw();
  }

  #draw() {
    const end = this.#points.at(-1)?.at ?? 0;
    const known = this.#points.filter(({ values }) => values !== null);
    const all = known.flatMap(({ values }) => this.#series.map(({ name }) => values[name] ?? 0));
    const age = end - (this.#points[0]?.at ?? end);
    const minutes = MINUTES.find((minutes) => minutes * MINUTE >= age) ?? MINUTES.at(-1);
    this.#span = minutes * MINUTE;
    const top = ceiling(Math.max(0, ...all), this.#base);
    const x = (at) => LEFT + (this.#width - LEFT - RIGHT) * (1 - (end - at) / this.#span);
    const y = (value) => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value / top);
    this.#drawAxes(top, y, minutes);
    this.#series.forEach(({ name }, at) => this.#paths[at].setAttribute("d", path(this.#points, name, x, y)));
    this.#drawCursor(known, end, x);
    this.#frame.setAttribute("aria-label", this.#summary(known));
  }

  #drawAxes(top, y, minutes) {
    const half = minutes === 1 ? "30 s" : `${minutes / 2} min`;
    const times = [`${minutes} min ago`, half, "now"];
    this.#svg.setAttribute("width", this.#width);
    [0, 0.5, 1].forEach((share, at) => {
      const height = y(top * share);
      for (const [name, value] of [["x1", LEFT], ["x2", this.#width - RIGHT], ["y1", height], ["y2", height]]) {
        this.#grid[at].setAttribute(name, value);
      }
      this.#ticks[at].setAttribute("y", height + 4);
      setText(this.#ticks[at], this.#format(top * share));
      setText(this.#times[at], times[at]);
      this.#times[at].setAttribute("x", LEFT + (this.#width - LEFT - RIGHT) * share);
    });
  }

  #drawCursor(known, end, x) {
    const point = this.#looked === null ? undefined : nearest(known, end - this.#looked);
    this.#readout.hidden = point === undefined;
    this.#cursor.setAttribute("visibility", point ? "visible" : "hidden");
    if (!point) return;
    this.#cursor.setAttribute("x1", x(point.at));
    this.#cursor.setAttribute("x2", x(point.at));
    const seconds = Math.round((end - point.at) / 1000);
    const time = seconds === 0 ? "now" : `${seconds} s ago`;
    const values = this.#series.map(({ name, label }) => {
      const value = this.#format(point.values[name]);
      return this.#series.length > 1 ? `${label} ${value}` : value;
    });
    setText(this.#readout, `${time}: ${values.join(", ")}`);
  }

  /** The plot in words. */
  #summary(known) {
    if (known.length === 0) return `${this.#title}: nothing yet`;
    const parts = this.#series.map(({ name, label }) => {
      const values = known.map((point) => point.values[name]).filter((value) => value !== null && value !== undefined);
      if (values.length === 0) return `${label} not known yet`;
      const [low, high] = [Math.min(...values), Math.max(...values)].map(this.#format);
      return `${label} ${this.#format(values.at(-1))} now, ${low} to ${high} in the last ten minutes`;
    });
    return `${this.#title}: ${parts.join("; ")}`;
  }
}

/** The lines through the points; broken where nothing is known. */
function path(points, name, x, y) {
  let drawn = "";
  let isDown = false;
  for (const { at, values } of points) {
    const value = values?.[name] ?? null;
    if (value === null) {
      isDown = false;
      continue;
    }
    drawn += `${isDown ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    isDown = true;
  }
  return drawn;
}

function nearest(points, at) {
  let best;
  for (const point of points) {
    if (!best || Math.abs(point.at - at) < Math.abs(best.at - at)) best = point;
  }
  return best;
}
