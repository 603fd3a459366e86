// The table of topics. Only the rows that can be seen, and a few around them, are in the page, so that a thousand topics
// cost what thirty do.
import { Spark } from "./chart.js";
import { bandwidth, byId, count, element, setText, short, span } from "./format.js";
import { line } from "./value.js";

/** Rows do not jump about more often than this, in milliseconds. */
const CALM = 2000;
/** Rows beyond the edge, so that scrolling does not outrun them. */
const SPARE = 8;

class Row {
  item = element("tr");
  topic;
  #button = element("button", "name");
  #spark;
  #cells = {};

  constructor(topic) {
    this.topic = topic;
    this.item.row = this;
    this.#spark = new Spark(topic.colour);
    const name = element("th", "c-topic");
    name.scope = "row";
    this.#button.type = "button";
    this.#button.tabIndex = -1;
    this.#button.title = `${topic.topic} on ${topic.backplane}`;
    const tag = element("span", `tag ${topic.colour}`, topic.backplane);
    this.#button.append(element("span", "text", topic.topic === "" ? "(empty topic)" : topic.topic), tag);
    name.append(this.#button);
    const spark = element("td", "c-spark");
    spark.append(this.#spark.node);
    this.item.append(name, spark);
    for (const column of ["rate", "bytes", "count", "age", "last"]) {
      this.#cells[column] = this.item.appendChild(element("td", `c-${column}${column === "last" ? "" : " num"}`));
    }
  }

  get button() {
    return this.#button;
  }

  paint(chosen) {
    const { now, rates } = this.topic;
    setText(this.#cells.rate, short(now.rate));
    setText(this.#cells.bytes, bandwidth(now.bytes_per_s));
    setText(this.#cells.count, count(now.count));
    setText(this.#cells.age, span(now.age_s));
    setText(this.#cells.last, now.cut ? now.last : line(now.last));
    this.#spark.draw(rates);
    this.item.classList.toggle("idle", now.rate === 0);
    this.item.classList.toggle("chosen", chosen);
    this.#button.setAttribute("aria-pressed", String(chosen));
  }
}

/** Room for rows that are not in the page. */
function spacer() {
  const item = element("tr");
  item.setAttribute("aria-hidden", "true");
  const room = item.appendChild(element("td", "spacer"));
  room.colSpan = 7;
  return {
    item,
    set(height) {
      item.hidden = height === 0;
      room.style.height = `${height}px`;
    },
  };
}

export class Topics {
  #history;
  #choose;
  #table = byId("topics-table");
  #scroll = byId("topics-scroll");
  #body = this.#table.tBodies[0];
  #above = spacer();
  #below = spacer();
  #known = new Set();
  /** The topics that pass the filter, in their order. */
  #order = [];
  /** The rows in the page, by their topics. */
  #rows = new Map();
  #rowHeight = 31;
  #key = "topic";
  #descending = false;
  #sortedAt = 0;
  #held = false;
  #chosen = null;
  /** The row that takes part in the order of Tab; the arrows lead to the others. */
  #reachable = null;

  constructor(history, choose) {
    this.#history = history;
    this.#choose = choose;
    this.#body.append(this.#above.item, this.#below.item);
    byId("filter").addEventListener("input", () => this.#arrange());
    byId("filter-backplane").addEventListener("change", () => this.#arrange());
    for (const head of this.#table.querySelectorAll("th[data-key]")) {
      head.firstElementChild.addEventListener("click", () => this.#sortBy(head.dataset.key));
    }
    this.#scroll.addEventListener("scroll", () => this.#render(), { passive: true });
    new ResizeObserver(() => this.#measure()).observe(this.#scroll);
    this.#body.addEventListener("click", (event) => {
      const row = event.target.closest("tr")?.row;
      if (row) this.#pick(row.topic);
    });
    this.#body.addEventListener("keydown", (event) => this.#walk(event));
    // Rows that somebody is about to click do not move away.
    this.#body.addEventListener("pointerenter", () => (this.#held = true));
    this.#body.addEventListener("pointerleave", () => (this.#held = false));
    this.#showOrder();
  }

  /** Shows what the history holds now. */
  update() {
    const { topics } = this.#history;
    const changed = topics.size !== this.#known.size || [...topics.values()].some((topic) => !this.#known.has(topic));
    const calm = performance.now() - this.#sortedAt < CALM || this.#held || this.#body.contains(document.activeElement);
    if (changed || (this.#key !== "topic" && !calm)) this.#arrange();
    else for (const row of this.#rows.values()) this.#paint(row);
    this.#tell();
  }

  /** Marks the chosen topic, or none. */
  mark(key) {
    this.#chosen = key;
    for (const row of this.#rows.values()) this.#paint(row);
  }

  /** Puts the focus back to a topic, else to the filter. */
  focus(key) {
    const at = this.#order.findIndex((topic) => topic.key === key);
    if (at < 0) byId("filter").focus();
    else this.#focusAt(at);
  }

  #sortBy(key) {
    this.#descending = key === this.#key ? !this.#descending : ["rate", "bytes_per_s", "count"].includes(key);
    this.#key = key;
    this.#showOrder();
    this.#arrange();
  }

  #showOrder() {
    for (const head of this.#table.querySelectorAll("th[data-key]")) {
      const order = head.dataset.key !== this.#key ? "none" : this.#descending ? "descending" : "ascending";
      head.setAttribute("aria-sort", order);
    }
  }

  #wanted() {
    const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const backplane = byId("filter-backplane").value;
    const fits = (topic) =>
      (backplane === "" || topic.backplane === backplane) && words.every((word) => topic.topic.toLowerCase().includes(word));
    const sign = this.#descending ? -1 : 1;
    const byText = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    const byName = (a, b) => byText(a.topic, b.topic) || byText(a.backplane, b.backplane);
    const order =
      this.#key === "topic"
        ? (a, b) => sign * byName(a, b)
        : (a, b) => sign * (a.now[this.#key] - b.now[this.#key]) || byName(a, b);
    return [...this.#known].filter(fits).sort(order);
  }

  #arrange() {
    this.#sortedAt = performance.now();
    this.#known = new Set(this.#history.topics.values());
    this.#order = this.#wanted();
    this.#table.setAttribute("aria-rowcount", this.#order.length + 1);
    this.#tell();
    this.#render();
  }

  #measure() {
    const row = this.#rows.values().next().value;
    if (row) this.#rowHeight = row.item.getBoundingClientRect().height || this.#rowHeight;
    this.#render();
  }

  #render() {
    const first = Math.max(0, Math.floor(this.#scroll.scrollTop / this.#rowHeight) - SPARE);
    const last = Math.ceil((this.#scroll.scrollTop + this.#scroll.clientHeight) / this.#rowHeight) + SPARE;
    const shown = this.#order.slice(first, last);
    const wanted = new Set(shown);
    for (const [topic, row] of this.#rows) {
      if (wanted.has(topic)) continue;
      row.item.remove();
      this.#rows.delete(topic);
    }
    let next = this.#above.item.nextElementSibling;
    shown.forEach((topic, n) => {
      let row = this.#rows.get(topic);
      if (!row) {
        row = new Row(topic);
        this.#rows.set(topic, row);
      }
      if (row.item === next) next = next.nextElementSibling;
      else this.#body.insertBefore(row.item, next);
      row.item.setAttribute("aria-rowindex", first + n + 2);
      this.#paint(row);
    });
    this.#above.set(Math.min(first, this.#order.length) * this.#rowHeight);
    this.#below.set(Math.max(0, this.#order.length - first - shown.length) * this.#rowHeight);
    if (!wanted.has(this.#reachable)) this.#reachable = shown[Math.min(SPARE, first)] ?? null;
    for (const [topic, row] of this.#rows) row.button.tabIndex = topic === this.#reachable ? 0 : -1;
  }

  #paint(row) {
    row.paint(row.topic.key === this.#chosen);
  }

  #focusAt(at) {
    const [top, height] = [at * this.#rowHeight, this.#rowHeight];
    const { scrollTop, clientHeight } = this.#scroll;
    const head = this.#table.tHead.offsetHeight;
    if (top < scrollTop) this.#scroll.scrollTop = top;
    else if (top + height + head > scrollTop + clientHeight) this.#scroll.scrollTop = top + height + head - clientHeight;
    this.#reachable = this.#order[at];
    this.#render();
    this.#rows.get(this.#reachable)?.button.focus({ preventScroll: true });
  }

  #walk(event) {
    const at = this.#order.indexOf(event.target.closest("tr")?.row?.topic);
    const last = this.#order.length - 1;
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + 12, PageUp: at - 12, Home: 0, End: last }[event.key];
    if (at < 0 || to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.#focusAt(Math.max(0, Math.min(last, to)));
  }

  #pick(topic) {
    this.#reachable = topic;
    this.#choose(topic.key);
    this.#render();
  }

  #tell() {
    const [shown, all] = [this.#order.length, this.#known.size];
    const left = this.#history.view?.topics_left_out ?? 0;
    const text = shown === all ? count(all) : `${count(shown)} of ${count(all)}`;
    setText(byId("topics-count"), left > 0 ? `${text}, and ${count(left)} more that are not listed` : text);
    this.#table.hidden = all === 0;
    const empty = byId("topics-empty");
    empty.hidden = shown > 0;
    if (shown === 0) this.#explain(empty, all);
  }

  #explain(empty, all) {
    const why = all > 0 ? "filter" : this.#history.view ? "silence" : "waiting";
    if (empty.dataset.why === why) return;
    empty.dataset.why = why;
    if (why === "filter") {
      empty.replaceChildren(element("p", "", "No topic matches the filter."));
    } else if (why === "waiting") {
      empty.replaceChildren(element("p", "", "Waiting for the gateway."));
    } else {
      const command = `multiplane publish hello '{"message": "it works"}'`;
      empty.replaceChildren(
        element("p", "", "Nothing has been published since this gateway listens. Topics appear with their first message:"),
        element("code", "command", command),
      );
    }
  }
}
