// The form that publishes. What is wrong with a payload is said in words, at its place.
import { byId, setText, timeOfDay } from "./format.js";

/** What people write instead of JSON, and what to write. */
const HABITS = [
  [/^\s*$/, "an empty payload: write null, or a map such as {\"message\": \"hello\"}"],
  [/[{,]\s*'|:\s*'/, "text stands in double quotes: \"hello\", not 'hello'"],
  [/[:[,]\s*(True|False|None)\b/, "JSON writes true, false and null, not True, False and None"],
  [/[:[,]\s*-?(NaN|Infinity|inf|nan)\b/, "JSON has no NaN and no infinity: send null, or publish from a program"],
  [/,\s*[}\]]/, "there is a comma too much before the closing bracket"],
  [/[{,]\s*[A-Za-z_]\w*\s*:/, "names stand in double quotes: {\"speed\": 1}, not {speed: 1}"],
  [/\/\/|\/\*|(^|\n)\s*#/, "JSON has no comments"],
];

/** Null when `text` is JSON, else what is wrong with it. */
export function fault(text) {
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    const habit = HABITS.find(([pattern]) => pattern.test(text));
    const at = /position (\d+)/.exec(error.message);
    const before = at ? text.slice(0, Number(at[1])) : text;
    const lines = before.split("\n");
    const where = `line ${lines.length}, column ${lines.at(-1).length + 1}`;
    const what = habit ? habit[1] : error.message.replace(/^JSON\.parse: /, "").replace(/ (in JSON )?at (position|line).*$/, "");
    return text.trim() === "" ? `This is ${what}.` : `Not JSON, ${where}: ${what}.`;
  }
}

export class PublishForm {
  #connection;
  #topic = byId("publish-topic");
  #payload = byId("publish-payload");
  #timer = 0;

  constructor(connection) {
    this.#connection = connection;
    const form = byId("publish");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#publish();
    });
    this.#payload.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    });
    // Whoever is still writing is not told about every unfinished bracket.
    this.#payload.addEventListener("input", () => {
      clearTimeout(this.#timer);
      if (fault(this.#payload.value) === null) this.#answer("", "");
      else this.#timer = setTimeout(() => this.#check(), 900);
    });
    this.#payload.addEventListener("blur", () => this.#check());
    this.#topic.addEventListener("input", () => this.#topic.removeAttribute("aria-invalid"));
  }

  /** Fills the form in for a topic. */
  fill(topic, backplane, payload) {
    this.#topic.value = topic;
    byId("publish-backplane").value = backplane;
    if (payload !== null) this.#payload.value = payload;
    this.#answer("", "");
    this.#payload.focus();
  }

  #check() {
    const wrong = fault(this.#payload.value);
    if (wrong === null) this.#payload.removeAttribute("aria-invalid");
    else this.#payload.setAttribute("aria-invalid", "true");
    this.#answer(wrong ?? "", wrong === null ? "" : "bad");
    return wrong === null;
  }

  async #publish() {
    clearTimeout(this.#timer);
    const [topic, backplane] = [this.#topic.value, byId("publish-backplane").value];
    if (topic === "") {
      this.#topic.setAttribute("aria-invalid", "true");
      this.#topic.focus();
      this.#answer("A message needs a topic: whoever subscribed to its beginning gets it.", "bad");
      return;
    }
    if (!this.#check()) {
      this.#payload.focus();
      return;
    }
    const { ok, reason } = await this.#connection.publish(topic, backplane || undefined, this.#payload.value);
    const where = backplane || "all backplanes";
    if (ok) this.#answer(`Published on ${where} at ${timeOfDay(new Date())}.`, "good");
    else this.#answer(`Not published: ${reason}`, "bad");
  }

  #answer(text, style) {
    if (style !== "bad") this.#payload.removeAttribute("aria-invalid");
    byId("publish-answer").className = style;
    setText(byId("publish-answer"), text);
  }
}
