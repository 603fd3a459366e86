// Numbers as people read them, and the two helpers by which text gets into the page.

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });

/** A count in full: 8,345,072. */
export const count = (n) => (Number.isFinite(n) ? grouped.format(n) : "–");

/** Three digits that matter and a letter: 4.2, 128, 12.3k, 1.28M. */
export function short(n) {
  if (!Number.isFinite(n)) return "–";
  const size = Math.abs(n);
  if (size < 1000) return size === 0 ? "0" : size < 0.095 ? "<0.1" : size < 9.95 ? n.toFixed(1) : n.toFixed(0);
  const [unit, letter] = size < 999_500 ? [1e3, "k"] : size < 999_500_000 ? [1e6, "M"] : [1e9, "G"];
  const scaled = n / unit;
  return scaled.toFixed(Math.abs(scaled) < 9.995 ? 2 : Math.abs(scaled) < 99.95 ? 1 : 0) + letter;
}

/** `short` without needless zeros, for an axis. */
export const axis = (n) => short(n).replace(/(\.\d*?)0+(?=[kMG]$)/, "$1").replace(/\.(?=[kMG]$)/, "");

/** Bytes per second. */
export function bandwidth(n) {
  if (!Number.isFinite(n)) return "–";
  if (n < 999.5) return `${n.toFixed(0)} B/s`;
  const [unit, name] = n < 999_500 ? [1e3, "kB/s"] : n < 999_500_000 ? [1e6, "MB/s"] : [1e9, "GB/s"];
  const scaled = n / unit;
  return `${scaled.toFixed(scaled < 9.95 ? 1 : 0)} ${name}`;
}

/** How long ago or for how long, in one unit; it does not break in two. */
export function span(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 1) return "<1\u00a0s";
  if (seconds < 120) return `${Math.floor(seconds)}\u00a0s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}\u00a0min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}\u00a0h`;
  return `${Math.floor(seconds / 86_400)}\u00a0d`;
}

/** A value on an axis or beside a chart. */
export function value(n) {
  if (!Number.isFinite(n)) return "–";
  const size = Math.abs(n);
  if (size !== 0 && (size >= 1e7 || size < 1e-3)) return n.toExponential(2);
  return String(Number(n.toPrecision(5)));
}

export const timeOfDay = (date) => clock.format(date);

/** Writes only what has changed: everything else would make the browser lay out for nothing. */
export function setText(node, text) {
  if (node.shown === text) return;
  node.shown = text;
  node.textContent = text;
}

/** An element with a class and a text. What came by the network only ever gets in as text. */
export function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== "") setText(made, text);
  return made;
}

export const byId = (id) => document.getElementById(id);
