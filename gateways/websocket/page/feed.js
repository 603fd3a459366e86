// Subscriptions, and their messages as they go by.
import { byId, count, element, setText, timeOfDay } from "./format.js";
import { Tree, line } from "./value.js";

const KEPT = 200;
/** Messages are shown this often, in milliseconds, however fast they come. */
const EVERY = 200;

export class Feed {
  #connection;
  #colour;
  #subscriptions = new Map();
  #waiting = [];
  #paused = false;
  #total = 0;
  #list = byId("messages");

  constructor(connection, colour) {
    this.#connection = connection;
    this.#colour = colour;
    byId("subscribe").addEventListener("submit", (event) => {
      event.preventDefault();
      this.subscribe(byId("subscribe-topic").value, byId("subscribe-backplane").value);
    });
    byId("messages-pause").addEventListener("click", () => {
      this.#paused = !this.#paused;
      byId("messages-pause").setAttribute("aria-pressed", String(this.#paused));
      this.#flush();
    });
    byId("messages-clear").addEventListener("click", () => {
      this.#waiting = [];
      this.#total = 0;
      this.#list.replaceChildren();
      this.#flush();
    });
    setInterval(() => this.#flush(), EVERY);
  }

  /** `backplane` "" means all. */
  async subscribe(topic, backplane) {
    const key = `${backplane}\0${topic}`;
    const rate = Number(byId("subscribe-rate").value) || undefined;
    const wish = { op: "subscribe", topic, backplane: backplane || undefined, rate };
    const subscription = { key, wish };
    this.#show(subscription);
    setText(byId("subscribe-answer"), "");
    const { ok, reason } = await this.#connection.subscribe(subscription);
    if (!ok) this.complain(reason);
  }

  take({ backplane, topic, payload }) {
    this.#total++;
    this.#waiting.push({ backplane, topic, payload, time: new Date() });
    if (this.#waiting.length > KEPT) this.#waiting.shift();
  }

  dropped(lost) {
    const notice = byId("messages-lost");
    notice.hidden = false;
    setText(notice, `${count(lost)} messages were left out, because this page takes them too slowly. Subscribe to less, or to fewer a second.`);
  }

  complain(reason) {
    setText(byId("subscribe-answer"), reason);
    byId("subscribe-answer").className = "bad";
  }

  #show(subscription) {
    const { key, wish } = subscription;
    this.#subscriptions.get(key)?.remove();
    const chip = element("li", wish.backplane ? `tagged ${this.#colour(wish.backplane)}` : "");
    const name = wish.topic === "" ? "every topic" : wish.topic;
    const remove = element("button", "", "×");
    remove.type = "button";
    remove.setAttribute("aria-label", `Unsubscribe from ${name}`);
    remove.addEventListener("click", async () => {
      chip.remove();
      this.#subscriptions.delete(key);
      this.#flush();
      byId("subscribe-topic").focus();
      const { ok, reason } = await this.#connection.unsubscribe(subscription);
      if (!ok) this.complain(reason);
    });
    chip.append(element("span", "text", name), element("small", "soft", wish.rate ? `≤ ${wish.rate}/s` : "all"), remove);
    byId("subscriptions").append(chip);
    this.#subscriptions.set(key, chip);
    this.#flush();
  }

  #flush() {
    const any = this.#list.childElementCount > 0 || this.#waiting.length > 0;
    for (const id of ["messages-pause", "messages-clear"]) byId(id).hidden = !any;
    setText(byId("messages-pause"), !this.#paused ? "Pause" : this.#waiting.length ? `Resume (${this.#waiting.length} new)` : "Resume");
    setText(byId("messages-count"), this.#total ? count(this.#total) : "");
    byId("messages-empty").hidden = any;
    setText(byId("messages-empty"), this.#subscriptions.size ? "Subscribed. Nothing has come yet." : "Subscribe to see messages go by, newest first. An empty field means every topic.");
    this.#list.hidden = !any;
    if (this.#paused || this.#waiting.length === 0 || document.hidden) return;
    this.#list.prepend(...this.#waiting.reverse().map((message) => this.#entry(message)));
    this.#waiting = [];
    while (this.#list.childElementCount > KEPT) this.#list.lastElementChild.remove();
  }

  #entry({ backplane, topic, payload, time }) {
    const item = element("li");
    const details = element("details");
    const summary = element("summary");
    summary.append(
      element("time", "soft", timeOfDay(time)),
      element("span", `tagged ${this.#colour(backplane)}`, topic === "" ? "(empty topic)" : topic),
      element("span", "line", line(payload, 240)),
    );
    const tree = element("ul", "tree");
    details.append(summary, element("p", "soft", `by ${backplane}`), tree);
    details.addEventListener("toggle", () => details.open && new Tree(tree).set(payload), { once: true });
    item.append(details);
    return item;
  }
}
