// A line chart over the last minutes that slides to the left, and the small lines in tables.
import { element, setText, span } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 168;
const MARGIN = { top: 10, right: 8, bottom: 20, left: 48 };
/** Seconds that a chart shows. */
export const WINDOW = 180;
const STEP = 30;
/** Views that are kept of everything: a little more than the window holds. */
export const KEPT = 380;

function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Adds to a history, which forgets the oldest. Its last number belongs to the last time. */
export function remember(history, value) {
  history.push(value);
  if (history.length > KEPT) history.shift();
}

/** Where a value lies between two others; in the middle when nobody can say. */
function share(value, low, high) {
  const share = (value - low) / (high - low);
  return Number.isFinite(share) ? share : 0.5;
}

/** Round numbers from `low` to `high`, three to five of them. */
function ticks(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((step) => step >= rough);
  const first = Math.ceil(low / step);
  // Beside a huge number a small step is none.
  const all = Array.from({ length: 7 }, (_, n) => (first + n) * step);
  return [...new Set(all)].filter((tick) => Number.isFinite(tick) && tick <= high + step * 1e-9);
}

const quiet = matchMedia("(prefers-reduced-motion: reduce)");

export class Chart {
  #box;
  #readout;
  #svg;
  #grid = svg("g", { class: "grid" });
  #sliding = svg("g");
  #cursor = svg("line", { class: "cursor", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom, visibility: "hidden" });
  #id = `clip-${Math.random().toString(36).slice(2)}`;
  #clip = svg("rect", { y: 0, height: HEIGHT });
  #width = 0;
  #seen = true;
  #times = [];
  #series = [];
  #format = String;
  #fromZero = true;
  #drawnAt = 0;
  #shift = 0;
  #pointer = null;

  /** `readout(values | null, age)` is told the values under the pointer. */
  constructor(figure, readout = () => {}) {
    this.#readout = readout;
    const defs = svg("defs", {}, svg("clipPath", { id: this.#id }, this.#clip));
    const clipped = svg("g", { "clip-path": `url(#${this.#id})` }, this.#sliding);
    this.#svg = svg("svg", { height: HEIGHT, role: "img" }, defs, this.#grid, clipped, this.#cursor);
    this.#box = element("div", "plot");
    this.#box.append(this.#svg);
    figure.append(this.#box);
    new ResizeObserver(([entry]) => this.#resize(entry.contentRect.width)).observe(this.#box);
    new IntersectionObserver(([entry]) => (this.#seen = entry.isIntersecting)).observe(this.#box);
    this.#box.addEventListener("pointermove", (event) => this.#point(event.offsetX));
    this.#box.addEventListener("pointerleave", () => this.#point(null));
  }

  /** `series`: `[{name, colour, values}]`; the last of the values belongs to the last of the times (milliseconds). */
  draw(times, series, { format = String, fromZero = true, label = "" } = {}) {
    // Copies: recording goes on while the picture stands still.
    this.#times = times.slice();
    this.#series = series.map((one) => ({ ...one, values: one.values.slice() }));
    [this.#format, this.#fromZero] = [format, fromZero];
    this.#svg.setAttribute("aria-label", label);
    this.#redraw();
  }

  /** Between two views the lines slide on, but only by whole steps that can be seen. */
  slide(now) {
    if (!this.#seen || quiet.matches || this.#times.length < 2) return;
    const shift = Math.round(((now - this.#drawnAt) / 1000) * this.#scale() * 2) / 2;
    // After a lost connection nothing moves on into the dark.
    if (shift === this.#shift || now - this.#drawnAt > 2000) return;
    this.#shift = shift;
    this.#sliding.setAttribute("transform", `translate(${-shift} 0)`);
  }

  #scale = () => (this.#width - MARGIN.left - MARGIN.right) / WINDOW;
  #right = () => this.#width - MARGIN.right;

  #resize(width) {
    this.#width = width;
    this.#svg.setAttribute("width", width);
    this.#clip.setAttribute("x", MARGIN.left);
    this.#clip.setAttribute("width", Math.max(0, width - MARGIN.left));
    this.#redraw();
  }

  #range() {
    let [low, high] = [Infinity, -Infinity];
    for (const { values } of this.#series) {
      for (const value of values) {
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
    if (low > high) return [0, 1];
    if (this.#fromZero) return [Math.min(0, low), high > 0 ? high * 1.08 : 1];
    const room = (high - low) * 0.08 || Math.abs(high) * 0.01 || 1;
    return [low - room, high + room];
  }

  #redraw() {
    if (this.#width <= MARGIN.left + MARGIN.right || !this.#seen) return;
    const last = this.#times.at(-1) ?? Date.now();
    const [low, high] = this.#range();
    const [top, bottom] = [MARGIN.top, HEIGHT - MARGIN.bottom];
    const y = (value) => bottom - share(value, low, high) * (bottom - top);
    const x = (time) => this.#right() - ((last - time) / 1000) * this.#scale();
    this.#drawGrid(ticks(low, high), y);
    this.#series.forEach((one, n) => {
      const path = this.#sliding.children[n] ?? this.#sliding.appendChild(svg("path"));
      path.setAttribute("class", `line ${one.colour}`);
      path.setAttribute("d", this.#path(one.values, x, y));
    });
    while (this.#sliding.children.length > this.#series.length) this.#sliding.lastChild.remove();
    this.#sliding.setAttribute("transform", "translate(0 0)");
    this.#shift = 0;
    this.#drawnAt = last;
    if (this.#pointer !== null) this.#point(this.#pointer);
  }

  /** A gap in the values is a gap in the line. */
  #path(values, x, y) {
    const first = this.#times.length - values.length;
    let [path, pen] = ["", "M"];
    for (let i = 0; i < values.length; i++) {
      if (!Number.isFinite(values[i])) {
        pen = "M";
        continue;
      }
      path += `${pen}${x(this.#times[first + i]).toFixed(1)} ${y(values[i]).toFixed(1)}`;
      pen = "L";
    }
    return path;
  }

  #drawGrid(levels, y) {
    const marks = levels.map((level) => ({ at: y(level), text: this.#format(level) }));
    const seconds = [];
    const every = this.#width < 420 ? STEP * 2 : STEP;
    for (let s = 0; s <= WINDOW; s += every) seconds.push(s);
    const count = marks.length + seconds.length;
    while (this.#grid.children.length < count) this.#grid.append(svg("g", {}, svg("line"), svg("text")));
    while (this.#grid.children.length > count) this.#grid.lastChild.remove();
    marks.forEach(({ at, text }, n) => {
      const [line, label] = this.#grid.children[n].children;
      place(line, { x1: MARGIN.left, x2: this.#right(), y1: at.toFixed(1), y2: at.toFixed(1), visibility: "visible" });
      place(label, { x: MARGIN.left - 8, y: (at + 4).toFixed(1), "text-anchor": "end" });
      setText(label, text);
    });
    seconds.forEach((s, n) => {
      const [line, label] = this.#grid.children[marks.length + n].children;
      const at = this.#right() - s * this.#scale();
      line.setAttribute("visibility", "hidden");
      place(label, { x: at.toFixed(1), y: HEIGHT - 4, "text-anchor": s === 0 ? "end" : s === WINDOW ? "start" : "middle" });
      setText(label, s === 0 ? "now" : `−${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`);
    });
  }

  #point(offset) {
    this.#pointer = offset;
    const inside = offset !== null && offset >= MARGIN.left && offset <= this.#right() && this.#times.length > 0;
    this.#cursor.setAttribute("visibility", inside ? "visible" : "hidden");
    if (!inside) {
      this.#readout(null, "");
      return;
    }
    place(this.#cursor, { x1: offset, x2: offset });
    const last = this.#times.at(-1);
    const wanted = last - ((this.#right() - offset) / this.#scale()) * 1000;
    let at = this.#times.length - 1;
    while (at > 0 && this.#times[at] > wanted) at--;
    const values = this.#series.map(({ values }) => values[values.length - this.#times.length + at]);
    this.#readout(values, `${span((last - this.#times[at]) / 1000)} ago`);
  }
}

function place(node, attributes) {
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
}

/** A line without axes: the last minute of a history. */
export class Spark {
  static width = 84;
  static height = 20;
  #line = svg("polyline");
  node = svg(
    "svg",
    { class: "spark", width: Spark.width, height: Spark.height, "aria-hidden": "true", focusable: "false" },
    this.#line,
  );

  constructor(colour) {
    this.#line.setAttribute("class", `line ${colour}`);
  }

  draw(history, { fromZero = true, points = 120 } = {}) {
    const values = history.slice(-points).filter(Number.isFinite);
    let [low, high] = [Math.min(...values), Math.max(...values)];
    if (fromZero) low = Math.min(0, low);
    if (!(high > low)) [low, high] = fromZero ? [low, low + 1] : [low - 1, low + 1];
    const step = (Spark.width - 2) / (points - 1);
    const first = points - values.length;
    const at = (value, n) =>
      `${(1 + (first + n) * step).toFixed(1)},${(Spark.height - 2 - share(value, low, high) * (Spark.height - 4)).toFixed(1)}`;
    this.#line.setAttribute("points", values.map(at).join(" "));
  }
}
