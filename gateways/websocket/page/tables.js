// Links and clients: small tables whose rows stay while what they show is there.
import { byId, count, element, setText, span } from "./format.js";

class Table {
  #body;
  #table;
  #empty;
  #rows = new Map();
  #cells;

  /** `cells`: for each column a function from an entry to `[text, class]`; the first heads its row. */
  constructor(id, cells) {
    this.#table = byId(id);
    this.#body = this.#table.tBodies[0];
    this.#empty = byId(`${id}-empty`);
    this.#cells = cells;
  }

  update(entries, keyOf) {
    const seen = new Set();
    for (const entry of entries) {
      const key = keyOf(entry);
      seen.add(key);
      let row = this.#rows.get(key);
      if (!row) {
        row = this.#cells.map((_, n) => element(n === 0 ? "th" : "td"));
        row[0].scope = "row";
        const item = element("tr");
        item.append(...row);
        this.#body.append(item);
        this.#rows.set(key, row);
      }
      this.#cells.forEach((cell, n) => {
        const [text, style = ""] = cell(entry);
        setText(row[n], text);
        if (row[n].className !== style) row[n].className = style;
      });
    }
    for (const [key, row] of this.#rows) {
      if (seen.has(key)) continue;
      row[0].parentElement.remove();
      this.#rows.delete(key);
    }
    this.#table.hidden = seen.size === 0;
    this.#empty.hidden = seen.size > 0;
  }
}

const number = (n) => [count(n), n === 0 ? "num soft" : "num"];
const loss = (n) => [count(n), n === 0 ? "num soft" : "num warn"];

export function linksTable(colour) {
  const table = new Table("links", [
    ({ backplane }) => [backplane, `tagged ${colour(backplane)}`],
    ({ side }) => [side],
    ({ state }) => (state === "up" ? ["up", "state-up"] : ["down", "state-down"]),
    ({ since_s }) => [span(since_s), "num"],
    ({ address }) => [address, "mono"],
    ({ detail }) => [detail ?? "", "soft"],
  ]);
  return (links) => table.update(links, (link) => `${link.backplane}\0${link.side}\0${link.address}`);
}

export function clientsTable() {
  const table = new Table("clients", [
    ({ peer }) => [peer, "mono"],
    ({ kind }) => [{ banyan: "Banyan", json: "JSON", msgpack: "MessagePack", new: "not yet" }[kind] ?? String(kind)],
    ({ slow }) => (slow ? ["slow", "state-slow"] : ["keeps up", "state-up"]),
    ({ topics }) => number(topics),
    ({ queued }) => number(queued),
    ({ sent }) => number(sent),
    ({ dropped }) => loss(dropped),
    ({ conflated }) => number(conflated),
  ]);
  return (clients) => table.update(clients, ({ peer }) => peer);
}
