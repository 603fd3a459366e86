// The chosen topic: its chart, its numbers over time, and its last value as a tree.
import { Chart, Spark } from "./chart.js";
import { bandwidth, byId, count, element, setText, short, span, value } from "./format.js";
import { Tree, Verbatim } from "./value.js";

const RATE = "messages/s";
const BYTES = "bytes/s";

/** A line of the list below the chart: choosing it puts it into the chart. */
class Series {
  item = element("li");
  #button = element("button");
  #number = element("span", "num");
  #spark;

  constructor(name, colour, choose) {
    this.#spark = new Spark(colour);
    this.#button.type = "button";
    this.#button.append(element("span", "text", name), this.#spark.node, this.#number);
    this.#button.addEventListener("click", choose);
    this.item.append(this.#button);
  }

  set(values, text, chosen, fromZero) {
    this.#spark.draw(values, { fromZero, points: 240 });
    setText(this.#number, text);
    this.#button.setAttribute("aria-pressed", String(chosen));
  }
}

export class Inspector {
  #history;
  #key = null;
  #topic = null;
  #series = new Map();
  #charted = RATE;
  #tree = new Tree(byId("topic-value"));
  #what = byId("topic-chart").querySelector(".what");
  #when = byId("topic-chart").querySelector(".when");
  chart = new Chart(byId("topic-chart"), (values, when) => {
    setText(this.#when, values ? `${this.#format(values[0])}, ${when}` : "");
  });

  constructor(history) {
    this.#history = history;
  }

  get topic() {
    return this.#topic;
  }

  /** Shows a topic, or with null none. */
  show(key) {
    this.#key = key;
    this.#topic = this.#history.topics.get(key) ?? null;
    byId("topic").hidden = !this.#topic;
    if (!this.#topic) return;
    byId("topic-title").replaceChildren(
      element("span", "text", this.#topic.topic === "" ? "(empty topic)" : this.#topic.topic),
      element("span", `tag ${this.#topic.colour}`, this.#topic.backplane),
    );
    this.#charted = RATE;
    this.#series.clear();
    byId("topic-series").replaceChildren();
    this.update();
  }

  update() {
    if (this.#key === null) return;
    const topic = this.#history.topics.get(this.#key);
    byId("topic").classList.toggle("gone", !topic);
    if (!topic) {
      setText(byId("topic-facts"), "Nothing has come on this topic since the gateway started.");
      return;
    }
    this.#topic = topic;
    const { now } = topic;
    const { rate, bytes_per_s, age_s } = now;
    const facts = [`${short(rate)} msg/s`, bandwidth(bytes_per_s), `${count(now.count)} messages`, age_s < 1 ? "just now" : `${span(age_s)} ago`];
    setText(byId("topic-facts"), facts.join(" · "));
    setText(byId("topic-cut"), now.cut ? "only its beginning: watch its messages to see all of it" : "");
    this.#tree.set(now.cut ? new Verbatim(now.last) : now.last);
    this.#showSeries(topic);
  }

  #all({ rates, bytes, fields }) {
    return new Map([[RATE, rates], [BYTES, bytes], ...fields]);
  }

  #showSeries(topic) {
    const all = this.#all(topic);
    for (const [name, line] of this.#series) {
      if (all.has(name)) continue;
      line.item.remove();
      this.#series.delete(name);
    }
    if (!all.has(this.#charted)) this.#charted = RATE;
    for (const [name, values] of all) {
      let line = this.#series.get(name);
      if (!line) {
        line = new Series(name, topic.colour, () => {
          this.#charted = name;
          this.update();
        });
        this.#series.set(name, line);
        byId("topic-series").append(line.item);
      }
      line.set(values, this.#formatOf(name)(values.at(-1)), name === this.#charted, this.#isRate(name));
    }
    const values = all.get(this.#charted);
    setText(this.#what, this.#charted);
    this.chart.draw(this.#history.times, [{ name: this.#charted, colour: topic.colour, values }], {
      format: (n) => this.#format(n),
      fromZero: this.#isRate(this.#charted),
      label: `${this.#charted} of ${topic.topic} over the last three minutes. Now: ${this.#format(values.at(-1))}`,
    });
  }

  #isRate = (name) => name === RATE || name === BYTES;
  #formatOf = (name) => (name === RATE ? short : name === BYTES ? bandwidth : value);
  #format = (n) => this.#formatOf(this.#charted)(n);
}
