// Decoded payloads: as one line, as a tree that is updated in place, and the numbers in them.
import { element, setText } from "./format.js";

const LINE_DEPTH = 6;
const TREE_CHILDREN = 200;
const FIELD_DEPTH = 4;
const FIELDS = 8;

const isMap = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

/** What JSON cannot say: `{"$bytes": base64}`, `{"$raw": base64}` (not MessagePack) and `{"$ext": 5, "data": base64}`. */
function bytesOf(value) {
  if (!isMap(value)) return null;
  const [first, second, third] = Object.keys(value);
  const isExt = first === "$ext" && second === "data" && third === undefined;
  if (!isExt && ((first !== "$bytes" && first !== "$raw") || second !== undefined)) return null;
  const what = { $bytes: "", $raw: "not MessagePack, ", $ext: `extension ${value.$ext}, ` }[first];
  try {
    return { what, bytes: Uint8Array.from(atob(isExt ? value.data : value[first]), (c) => c.charCodeAt(0)) };
  } catch {
    return null;
  }
}

function hex({ what, bytes }) {
  const shown = Array.from(bytes.subarray(0, 32), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return `‹${what}${bytes.length} byte${bytes.length === 1 ? "" : "s"}› ${shown}${bytes.length > 32 ? " …" : ""}`;
}

/** Text that stands for itself: the beginning of a value that was too long. */
export class Verbatim {
  constructor(text) {
    this.text = text;
  }
}

/** What cannot be opened any further, as text; null for maps and lists. */
function leaf(value) {
  if (value instanceof Verbatim) return value.text;
  if (value === null || value === undefined) return "null";
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value !== "object") return String(value);
  const bytes = bytesOf(value);
  if (bytes) return hex(bytes);
  if (Array.isArray(value)) return value.length === 0 ? "[]" : null;
  return Object.keys(value).length === 0 ? "{}" : null;
}

function kindOf(value) {
  if (typeof value === "bigint") return "number";
  return value === null || value === undefined ? "null" : value instanceof Verbatim ? "text" : typeof value;
}

/** The value on one line, cut at about `limit` characters. */
export function line(value, limit = 160) {
  let text = "";
  const write = (value, depth) => {
    if (text.length > limit) return;
    // Nobody reads a megabyte on a line.
    const plain = typeof value === "string" ? JSON.stringify(value.slice(0, limit + 1)) : leaf(value);
    if (plain !== null) {
      text += plain;
      return;
    }
    const list = Array.isArray(value);
    text += list ? "[" : "{";
    const entries = depth === LINE_DEPTH ? [] : list ? value.entries() : Object.entries(value);
    if (depth === LINE_DEPTH) text += "…";
    let first = true;
    for (const [key, item] of entries) {
      if (text.length > limit) break;
      text += first ? "" : ", ";
      first = false;
      if (!list) text += `${JSON.stringify(key)}: `;
      write(item, depth + 1);
    }
    text += list ? "]" : "}";
  };
  write(value, 0);
  return text.length > limit ? `${text.slice(0, limit)}…` : text;
}

/** The numbers in a value and where they are: `[["position.x", 1.5], ...]`. */
export function numbers(value) {
  const found = [];
  const walk = (value, path, depth) => {
    if (found.length === FIELDS) return;
    if (typeof value === "number" || typeof value === "bigint") found.push([path || "value", Number(value)]);
    if (depth === FIELD_DEPTH || value === null || typeof value !== "object") return;
    for (const [key, item] of Object.entries(value)) {
      if (found.length === FIELDS) return;
      walk(item, path ? `${path}.${key}` : key, depth + 1);
    }
  };
  walk(value, "", 0);
  return found;
}

/** A value as nested lists; `set` changes it in place, so what is open stays open. */
export class Tree {
  #root;
  #node = null;

  constructor(root) {
    this.#root = root;
  }

  set(value) {
    if (!this.#node?.takes(value)) {
      this.#node = node("", value, 0);
      this.#root.replaceChildren(this.#node.item);
    }
    this.#node.set(value);
  }
}

const node = (key, value, depth) => (leaf(value) === null ? new Branch(key, value, depth) : new Leaf(key));

function labelled(item, key) {
  if (key !== "") item.append(element("span", "key", key), " ");
  return item;
}

class Leaf {
  item = element("li");
  #text = element("span", "leaf");

  constructor(key) {
    labelled(this.item, key).append(this.#text);
  }

  takes = (value) => leaf(value) !== null;

  set(value) {
    this.#text.dataset.kind = kindOf(value);
    setText(this.#text, leaf(value));
  }
}

class Branch {
  item = element("li");
  #details = element("details");
  #count = element("span", "soft");
  #children = element("ul");
  #nodes = new Map();
  #isList;
  #depth;
  #value;

  constructor(key, value, depth) {
    this.#isList = Array.isArray(value);
    this.#depth = depth;
    const summary = labelled(element("summary"), key);
    summary.append(this.#count);
    this.#details.append(summary, this.#children);
    this.#details.open = depth < 2 && Object.keys(value).length <= 24;
    this.#details.addEventListener("toggle", () => this.#fill());
    this.item.append(this.#details);
  }

  takes = (value) => leaf(value) === null && Array.isArray(value) === this.#isList;

  set(value) {
    this.#value = value;
    const size = Object.keys(value).length;
    setText(this.#count, this.#isList ? `[${size}]` : `{${size}}`);
    this.#fill();
  }

  /** Children exist only while somebody looks: a payload may be as deep as it likes. */
  #fill() {
    if (!this.#details.open) return;
    const keys = Object.keys(this.#value);
    const shown = keys.slice(0, TREE_CHILDREN);
    const wanted = new Set(shown);
    for (const [key, old] of this.#nodes) {
      if (wanted.has(key) && old.takes(this.#value[key])) continue;
      old.item.remove();
      this.#nodes.delete(key);
    }
    let next = this.#children.firstElementChild;
    for (const key of shown) {
      let child = this.#nodes.get(key);
      if (!child) {
        child = node(key, this.#value[key], this.#depth + 1);
        this.#nodes.set(key, child);
      }
      if (child.item === next) next = next.nextElementSibling;
      else this.#children.insertBefore(child.item, next);
      child.set(this.#value[key]);
    }
    next?.remove(); // The only one that is nobody's node is the line below.
    if (keys.length > shown.length) {
      this.#children.append(element("li", "soft", `… ${keys.length - shown.length} more`));
    }
  }
}
