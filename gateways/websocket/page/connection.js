// The socket to the gateway: it comes back by itself, and then says again what the page wants.
// The messages are those of PROTOCOL.md.

const FIRST_WAIT = 500;
const LONGEST_WAIT = 10_000;
/** The gateway sends a view every half second; silent for so long, the connection is dead and nobody said so. */
const SILENCE = 10_000;
const EVERY = 0.5;
const TOKEN = "multiplane-token";
/** The close code of a client that may not be here. */
const POLICY = 1008;

/** Integers that a double cannot hold stay exact; the search is cheaper than looking at every number. */
function parse(text) {
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  return JSON.parse(text, (_, value, context) => {
    const source = context?.source;
    const inexact = typeof value === "number" && source && /^-?\d+$/.test(source) && !Number.isSafeInteger(value);
    return inexact ? BigInt(source) : value;
  });
}

export class Connection {
  #socket = null;
  #wait = FIRST_WAIT;
  #timer = 0;
  #heard = 0;
  #subscriptions = new Map();
  #answers = new Map();
  #nextRef = 1;
  #on;

  /** `on.state({name, reason, until})`, `on.message(message)`. */
  constructor(on) {
    this.#on = on;
    setInterval(() => this.#checkSilence(), 1000);
    addEventListener("online", () => this.retry());
    addEventListener("pageshow", (event) => event.persisted && this.retry());
  }

  /** Connects now, if it is not connected. */
  retry() {
    if (this.#socket) return;
    clearTimeout(this.#timer);
    this.#open();
  }

  /** Another token for this tab, and another try. */
  useToken(token) {
    sessionStorage.setItem(TOKEN, token);
    this.#wait = FIRST_WAIT;
    this.retry();
  }

  subscribe(subscription) {
    this.#subscriptions.set(subscription.key, subscription.wish);
    return this.#ask(subscription.wish);
  }

  unsubscribe(subscription) {
    this.#subscriptions.delete(subscription.key);
    const { topic, backplane } = subscription.wish;
    return this.#ask({ op: "unsubscribe", topic, backplane });
  }

  /** The payload goes as the text that the user wrote, so that 1.0 stays a float and long integers stay exact. */
  publish(topic, backplane, payload) {
    return this.#ask({ op: "publish", topic, backplane }, payload);
  }

  #open() {
    const address = new URL("ws", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    address.search = address.hash = "";
    this.#on.state({ name: "connecting" });
    const socket = new WebSocket(address);
    this.#socket = socket;
    this.#heard = Date.now();
    socket.onopen = () => {
      const token = sessionStorage.getItem(TOKEN);
      this.#send(token === null ? { op: "hello" } : { op: "hello", token });
    };
    socket.onmessage = (event) => this.#take(event.data);
    socket.onclose = (event) => this.#socket === socket && this.#closed(event);
  }

  #take(data) {
    this.#heard = Date.now();
    let message;
    try {
      message = parse(data);
    } catch {
      return; // Not ours to judge: what the page cannot read it does not show.
    }
    if (message.op === "welcome") {
      this.#wait = FIRST_WAIT;
      this.#send({ op: "watch", every: EVERY });
      for (const wish of this.#subscriptions.values()) this.#send(wish);
      this.#on.state({ name: "live" });
    }
    const answer = this.#answers.get(message.ref);
    if (answer && (message.op === "ok" || message.op === "error")) {
      this.#answers.delete(message.ref);
      answer({ ok: message.op === "ok", reason: message.reason });
    } else {
      this.#on.message(message);
    }
  }

  #closed(event) {
    this.#socket = null;
    for (const answer of this.#answers.values()) {
      answer({ ok: false, reason: "the connection was lost before the gateway answered: it may or may not have happened" });
    }
    this.#answers.clear();
    const reason = event.reason;
    if (event.code === POLICY && /token/i.test(reason)) {
      const wrong = sessionStorage.getItem(TOKEN) !== null;
      sessionStorage.removeItem(TOKEN);
      this.#on.state({ name: "token", reason: wrong ? "The last one was not right." : "" });
      return;
    }
    // Not all pages of a restarted gateway at once.
    const wait = this.#wait * (0.75 + Math.random() / 2);
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
    this.#timer = setTimeout(() => this.#open(), wait);
    this.#on.state({ name: "waiting", reason, until: Date.now() + wait });
  }

  #checkSilence() {
    if (!this.#socket || Date.now() - this.#heard < SILENCE) return;
    // A dead peer answers no close either: do not wait for its goodbye.
    const socket = this.#socket;
    socket.onclose = socket.onmessage = null;
    socket.close();
    this.#closed({ code: 0, reason: "the gateway fell silent" });
  }

  #ask(message, payload) {
    if (this.#socket?.readyState !== WebSocket.OPEN) {
      return Promise.resolve({ ok: false, reason: "not connected to the gateway: wait until this page is live again" });
    }
    const ref = this.#nextRef++;
    return new Promise((answer) => {
      this.#answers.set(ref, answer);
      this.#send({ ...message, ref }, payload);
    });
  }

  #send(message, payload) {
    const text = JSON.stringify(message);
    this.#socket.send(payload === undefined ? text : `${text.slice(0, -1)},"payload":${payload}}`);
  }
}
