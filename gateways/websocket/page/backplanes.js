// The cards of the backplanes, their chart, and what needs somebody's attention.
import { Chart } from "./chart.js";
import { axis, bandwidth, byId, count, element, setText, short } from "./format.js";

class Card {
  item = element("li");
  #rate = element("b");
  #facts = element("span", "soft");
  #links = element("span");

  constructor(name, colour) {
    const title = element("span", `tagged ${colour}`);
    title.append(element("strong", "", name));
    const big = element("span", "big");
    big.append(this.#rate, element("small", "", "msg/s"));
    this.item.append(title, this.#links, big, this.#facts);
  }

  set({ bytes_per_s, received }, rate, links) {
    const down = links.filter(({ state }) => state !== "up");
    const state = links.length === 0 ? "" : down.length === 0 ? "state-up" : "state-down";
    setText(this.#links, { "": "no links", "state-up": "up", "state-down": "down" }[state]);
    this.#links.className = state;
    setText(this.#rate, short(rate));
    setText(this.#facts, `${bandwidth(bytes_per_s)} · ${count(received)} in all`);
  }
}

export class Backplanes {
  #history;
  #list = byId("backplanes");
  #cards = new Map();
  #when = byId("traffic").querySelector(".when");
  #pointed = null;
  chart = new Chart(byId("traffic"), (values, when) => {
    this.#pointed = values;
    setText(this.#when, values ? when : "");
    if (this.#history?.view) this.#showCards();
  });

  constructor(history) {
    this.#history = history;
  }

  update() {
    this.#showCards();
    const series = [...this.#history.backplanes].map(([name, values]) => ({ name, values, colour: this.#history.colour(name) }));
    const now = series.map(({ name, values }) => `${name} ${short(values.at(-1))}`).join(", ");
    this.chart.draw(this.#history.times, series, { format: axis, label: `Messages per second over the last three minutes. Now: ${now}` });
  }

  #showCards() {
    const { backplanes, links } = this.#history.view;
    byId("backplanes-empty").hidden = backplanes.length > 0;
    const names = [...this.#history.backplanes.keys()];
    for (const backplane of backplanes) {
      const { name } = backplane;
      let card = this.#cards.get(name);
      if (!card) {
        card = new Card(name, this.#history.colour(name));
        this.#cards.set(name, card);
        this.#list.append(card.item);
      }
      const rate = this.#pointed ? this.#pointed[names.indexOf(name)] : backplane.rate;
      card.set(backplane, rate, links.filter((link) => link.backplane === name));
    }
    for (const [name, card] of this.#cards) {
      if (backplanes.some((backplane) => backplane.name === name)) continue;
      card.item.remove();
      this.#cards.delete(name);
    }
  }
}

/** A list of troubles; a screen reader hears each when it comes, and no number that changes. */
export class Attention {
  #items = new Map();
  #list = byId("attention-list");

  update({ links, clients, gateway, topics_left_out }) {
    const troubles = new Map();
    for (const { backplane, side, address } of links.filter(({ state }) => state !== "up")) {
      const cure = `Is the backplane running at ${address}? multiplane backplane -n ${backplane} starts one.`;
      troubles.set(`${backplane}: the ${side} link is down.`, cure);
    }
    for (const { peer } of clients.filter(({ slow }) => slow)) {
      const cure = "It reads too slowly: let it subscribe to less, or with a rate or conflate.";
      troubles.set(`The client ${peer} is losing messages.`, cure);
    }
    if (gateway.refused > 0) {
      const cure = "Messages of clients that could not be published: is a link down, or a backplane slow?";
      troubles.set("The gateway has refused messages.", cure);
    }
    if (topics_left_out > 0) {
      troubles.set("There are more topics than this page lists.", "Start the gateway with --watch PREFIX to choose some.");
    }
    for (const [what, item] of this.#items) {
      if (troubles.has(what)) continue;
      item.remove();
      this.#items.delete(what);
    }
    for (const [what, cure] of troubles) {
      if (this.#items.has(what)) continue;
      const item = element("li");
      item.append(element("strong", "", what), " ", element("span", "", cure));
      this.#list.append(item);
      this.#items.set(what, item);
    }
    byId("attention").hidden = troubles.size === 0;
  }
}
