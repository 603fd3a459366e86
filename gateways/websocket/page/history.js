// What the views said over the last minutes. Recording goes on while the page is paused.
import { KEPT, remember } from "./chart.js";
import { numbers } from "./value.js";

const COLOURS = 6;
/** A rate is the mean of so many views: what comes once a second does not flicker between 0 and 2. */
const SMOOTH = { topic: 8, backplane: 2 };

export const keyOf = ({ backplane, topic }) => `${backplane}\0${topic}`;

/** Continues the histories in `all`; what the view does not name gets a gap, so that all stay as long as the times. */
function extend(histories, values) {
  for (const [name, history] of histories) remember(history, values.get(name) ?? NaN);
  for (const [name, value] of values) if (!histories.has(name)) histories.set(name, [value]);
}

/** Continues a list of the last raw numbers; their mean. */
function mean(last, value, most) {
  last.push(value);
  if (last.length > most) last.shift();
  return last.reduce((sum, one) => sum + one, 0) / last.length;
}

export class History {
  times = [];
  /** The rates of each backplane. */
  backplanes = new Map();
  /** By `keyOf`: `{topic, backplane, colour, now, rates, bytes, fields}`. */
  topics = new Map();
  /** The last view. */
  view = null;
  #colours = new Map();
  #lastOfBackplanes = new Map();

  /** Each backplane keeps its colour as long as the page lives. */
  colour(backplane) {
    if (!this.#colours.has(backplane)) this.#colours.set(backplane, `c${(this.#colours.size % COLOURS) + 1}`);
    return this.#colours.get(backplane);
  }

  take(view, time) {
    this.view = view;
    this.times.push(time);
    if (this.times.length > KEPT) this.times.shift();
    for (const backplane of view.backplanes) {
      const { name, rate } = backplane;
      if (!this.#lastOfBackplanes.has(name)) this.#lastOfBackplanes.set(name, []);
      backplane.rate = mean(this.#lastOfBackplanes.get(name), rate, SMOOTH.backplane);
    }
    extend(this.backplanes, new Map(view.backplanes.map(({ name, rate }) => [name, rate])));
    const seen = new Set();
    for (const now of view.topics) {
      const key = keyOf(now);
      seen.add(key);
      let topic = this.topics.get(key);
      if (!topic) {
        const { backplane, topic: name } = now;
        topic = { key, backplane, topic: name, colour: this.colour(backplane), rates: [], bytes: [], fields: new Map(), last: [[], []] };
        this.topics.set(key, topic);
      }
      now.rate = mean(topic.last[0], now.rate, SMOOTH.topic);
      now.bytes_per_s = mean(topic.last[1], now.bytes_per_s, SMOOTH.topic);
      // In a view the bytes of what is not MessagePack are bytes, and a flag says what they are.
      if (now.raw && now.last?.$bytes !== undefined) now.last = { $raw: now.last.$bytes };
      topic.now = now;
      remember(topic.rates, now.rate);
      remember(topic.bytes, now.bytes_per_s);
      extend(topic.fields, new Map(now.cut ? [] : numbers(now.last)));
    }
    for (const key of this.topics.keys()) if (!seen.has(key)) this.topics.delete(key);
  }

  /** Nothing is known from here on, until the next view. */
  gap(time) {
    if (this.times.length === 0) return;
    this.times.push(time);
    const all = [...this.backplanes.values()];
    for (const { rates, bytes, fields } of this.topics.values()) all.push(rates, bytes, ...fields.values());
    for (const history of all) remember(history, NaN);
  }
}
