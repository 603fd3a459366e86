// The page of the WebSocket gateway: puts its parts together. The messages are those of PROTOCOL.md.
import { Attention, Backplanes } from "./backplanes.js";
import { Connection } from "./connection.js";
import { Feed } from "./feed.js";
import { byId, count, element, setText, span } from "./format.js";
import { History } from "./history.js";
import { Inspector } from "./inspector.js";
import { PublishForm } from "./publish.js";
import { clientsTable, linksTable } from "./tables.js";
import { Topics } from "./topics.js";

const history = new History();
const connection = new Connection({ state: showState, message: take });
const backplanes = new Backplanes(history);
const attention = new Attention();
const inspector = new Inspector(history);
const topics = new Topics(history, choose);
const feed = new Feed(connection, (backplane) => history.colour(backplane));
const publishForm = new PublishForm(connection);
const showLinks = linksTable((backplane) => history.colour(backplane));
const showClients = clientsTable();
let chosen = null;
let paused = false;
let state = { name: "connecting" };

// What comes from the gateway.

function take(message) {
  if (message.op === "view") takeView(message);
  else if (message.op === "message") feed.take(message);
  else if (message.op === "dropped") feed.dropped(message.count);
  else if (message.op === "error") feed.complain(message.reason);
  else if (message.op === "welcome") welcome(message);
}

function welcome({ name, version, backplanes }) {
  setText(byId("gateway"), `${name} ${version}`);
  document.title = `${name} · Multiplane`;
  for (const { name } of backplanes) history.colour(name);
  const names = backplanes.map(({ name }) => name);
  for (const id of ["filter-backplane", "publish-backplane", "subscribe-backplane"]) {
    const select = byId(id);
    const before = select.value;
    select.replaceChildren(select.options[0], ...names.map((name) => new Option(name, name)));
    select.value = names.includes(before) ? before : "";
  }
}

function takeView(view) {
  history.take(view, Date.now());
  if (!paused && !document.hidden) show();
}

function show() {
  if (!history.view) return;
  backplanes.update();
  attention.update(history.view);
  topics.update();
  inspector.update();
  showLinks(history.view.links);
  showClients(history.view.clients);
  showBooks(history.view.gateway);
}

function showBooks({ published, refused, undecodable, dropped, uptime_s }) {
  const books = byId("books");
  const facts = [
    ["Up", span(uptime_s)],
    ["Published for clients", count(published)],
    ["Refused", count(refused)],
    ["Undecodable", count(undecodable)],
    ["Dropped", count(dropped)],
  ];
  facts.forEach(([name, text], n) => {
    let fact = books.children[n];
    if (!fact) {
      fact = books.appendChild(element("div"));
      fact.append(element("dt", "", name), element("dd"));
    }
    setText(fact.lastChild, text);
    fact.classList.toggle("loss", n > 1 && text !== "0");
  });
}

// The state of the connection.

function showState(next) {
  if (state.name === "live" && next.name !== "live") history.gap(Date.now());
  // Between two tries it stays lost: that is no news each time.
  const lost = state.name === "waiting" && next.name === "connecting";
  state = next;
  byId("state").dataset.state = next.name;
  document.body.classList.toggle("stale", next.name !== "live");
  byId("retry").hidden = next.name !== "waiting";
  if (!lost) {
    const texts = { connecting: "Connecting", live: "Live", waiting: "Connection lost", token: "Token needed" };
    setText(byId("state-text"), texts[next.name]);
  }
  showDetail();
  if (next.name === "token") askForToken(next.reason);
  else if (byId("token-dialog").open && next.name === "live") byId("token-dialog").close();
}

function showDetail() {
  const seconds = Math.max(0, Math.ceil((state.until - Date.now()) / 1000));
  const why = state.reason ? `${state.reason}; ` : "";
  const details = { waiting: `${why}trying again in ${seconds} s`, connecting: history.view ? "trying again" : "" };
  setText(byId("state-detail"), details[state.name] ?? "");
}

function askForToken(reason) {
  setText(byId("token-reason"), reason);
  byId("token").value = "";
  if (!byId("token-dialog").open) byId("token-dialog").showModal();
  byId("token").focus();
}

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = byId("token").value;
  if (token === "") {
    setText(byId("token-reason"), "Write the token into the field.");
    return;
  }
  byId("token-dialog").close();
  connection.useToken(token);
});
// Without a token there is nothing to see; the way back is the button.
byId("token-dialog").addEventListener("close", () => (byId("retry").hidden = state.name !== "waiting" && state.name !== "token"));
byId("retry").addEventListener("click", () => connection.retry());

// What the user does.

function choose(key) {
  chosen = key === chosen ? null : key;
  topics.mark(chosen);
  inspector.show(chosen);
  // Beside the table it is in sight; below it, it has to come.
  if (chosen !== null && matchMedia("(max-width: 66rem)").matches) {
    byId("topic").scrollIntoView({ block: "start" });
    byId("topic").focus({ preventScroll: true });
  }
}

function closeTopic() {
  const before = chosen;
  if (before === null) return;
  choose(before);
  topics.focus(before);
}

byId("topic-close").addEventListener("click", closeTopic);
byId("topic-watch").addEventListener("click", () => {
  const { topic, backplane } = inspector.topic;
  byId("subscribe-topic").value = topic;
  byId("subscribe-backplane").value = backplane;
  feed.subscribe(topic, backplane);
  byId("messages-title").scrollIntoView({ block: "nearest" });
});
byId("topic-publish").addEventListener("click", () => {
  const { topic, backplane } = inspector.topic;
  publishForm.fill(topic, backplane, null);
});

function setPaused(value) {
  paused = value;
  byId("pause").setAttribute("aria-pressed", String(paused));
  setText(byId("pause"), paused ? "Resume" : "Pause");
  document.body.classList.toggle("paused", paused);
  if (!paused) show();
}

byId("pause").addEventListener("click", () => setPaused(!paused));

const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";

function showTheme() {
  setText(byId("theme"), isDark() ? "Light" : "Dark");
  byId("theme").setAttribute("aria-label", isDark() ? "Light colours" : "Dark colours");
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("multiplane-theme", theme);
  showTheme();
}

const theme = localStorage.getItem("multiplane-theme");
if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
dark.addEventListener("change", showTheme);
showTheme();
byId("theme").addEventListener("click", () => setTheme(isDark() ? "light" : "dark"));

byId("help").addEventListener("click", () => byId("help-dialog").showModal());

// Those who speak to their computer, or have it read to them, can switch the single keys off.
const keysOn = byId("keys-on");
keysOn.checked = localStorage.getItem("multiplane-keys") !== "off";
keysOn.addEventListener("change", () => localStorage.setItem("multiplane-keys", keysOn.checked ? "on" : "off"));

const KEYS = {
  "/": () => byId("filter").focus(),
  n: () => byId("publish-topic").focus(),
  s: () => byId("subscribe-topic").focus(),
  p: () => setPaused(!paused),
  d: () => setTheme(isDark() ? "light" : "dark"),
  "?": () => byId("help-dialog").showModal(),
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
  const writing = event.target.matches?.("input:not([type=checkbox]), textarea, select");
  if (event.key === "Escape") {
    if (event.target === byId("filter")) {
      byId("filter").value = "";
      byId("filter").dispatchEvent(new Event("input"));
    } else if (!writing) {
      closeTopic();
    }
  } else if (!writing && keysOn.checked && Object.hasOwn(KEYS, event.key)) {
    event.preventDefault();
    KEYS[event.key]();
  }
});

// The topics that are there are offered only to who is about to write one.
for (const id of ["publish-topic", "subscribe-topic"]) {
  byId(id).addEventListener("focus", () => {
    const names = [...new Set([...history.topics.values()].map(({ topic }) => topic))].sort().slice(0, 200);
    byId("known-topics").replaceChildren(...names.map((name) => new Option("", name)));
  });
}

// Time goes on between the views.

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !paused) show();
});
setInterval(() => state.name === "waiting" && showDetail(), 250);
requestAnimationFrame(function frame() {
  if (!paused && state.name === "live") {
    const now = Date.now();
    backplanes.chart.slide(now);
    if (chosen !== null) inspector.chart.slide(now);
  }
  requestAnimationFrame(frame);
});

connection.retry();
