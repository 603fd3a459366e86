"""A headless Chromium, by its DevTools protocol over a pipe: it needs no port, and ends when we do."""
import base64
import fcntl
import importlib.resources
import json
import os
import shutil
import subprocess
import tempfile
import urllib.parse

# It needs nobody but the page's own host; the options keep it from looking for anybody else.
OPTIONS = """--headless --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --no-first-run --hide-scrollbars
    --disable-background-networking --disable-component-update --disable-sync --remote-debugging-pipe""".split()
KEYS = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowDown": 40, "ArrowUp": 38, "Home": 36, "End": 35}


class Failed(Exception):
    """What the browser or the page did not do."""


class Browser:
    """One browser with one page."""

    def __init__(self):
        program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if not program:
            raise Failed("there is no Chromium here: install it (Debian: apt-get install chromium)")
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        theirs_in, self.out = os.pipe()
        self.inp, theirs_out = os.pipe()
        # Chromium reads from descriptor 3 and writes to 4: what we hand over lies out of their way.
        theirs = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (theirs_in, theirs_out)]
        os.close(theirs_in)
        os.close(theirs_out)
        shell = f'exec "$@" 3<&{theirs[0]} 4>&{theirs[1]}'
        command = ["bash", "-c", shell, "chromium", program, *OPTIONS, f"--user-data-dir={self.profile.name}", "about:blank"]
        self.log = open(os.path.join(self.profile.name, "log"), "wb")
        quiet = {"stdin": subprocess.DEVNULL, "stdout": self.log, "stderr": self.log}
        self.process = subprocess.Popen(command, pass_fds=theirs, **quiet)
        for fd in theirs:
            os.close(fd)
        self.rest, self.number, self.events = b"", 0, []
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.out)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.inp)
        self.log.close()
        self.profile.cleanup()

    def call(self, method, **parameters):
        """Says something and waits for the answer; events that come before it are kept."""
        self.number += 1
        order = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            order["sessionId"] = self.session
        data = json.dumps(order).encode() + b"\0"
        while data:
            data = data[os.write(self.out, data) :]
        while True:
            message = self.receive()
            if message.get("id") != self.number:
                self.events.append(message)
            elif "error" in message:
                raise Failed(f"{method}: {message['error']}")
            else:
                return message["result"]

    def receive(self):
        while b"\0" not in self.rest:
            part = os.read(self.inp, 1 << 16)
            if not part:
                with open(self.log.name, errors="replace") as log:
                    raise Failed(f"Chromium ended: {log.read()[-2000:]}")
            self.rest += part
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def window(self, width, height, scheme="light", scale=1):
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 500}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, url):
        answer = self.call("Page.navigate", url=url)
        if "errorText" in answer:
            raise Failed(f"{url}: {answer['errorText']}")

    def evaluate(self, expression):
        """The value of an expression in the page; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True)
        if "exceptionDetails" in answer:
            raise Failed(f"{expression}: {answer['exceptionDetails'].get('exception', {}).get('description')}")
        return answer["result"].get("value")

    def wait(self, expression):
        """Waits until an expression is true, and takes its value (true for an element). The patience is the caller's."""
        while True:
            try:
                # Not longer than a moment in the page: it may be on its way to another.
                value = self.evaluate(
                    f"""new Promise(done => {{
                        const end = Date.now() + 500;
                        (function look() {{
                            let value; try {{ value = ({expression}) }} catch {{ value = null }}
                            value || Date.now() > end ? done(value instanceof Node || value) : setTimeout(look, 20);
                        }})();
                    }})"""
                )
            except Failed:
                value = None
            if value:
                return value

    def click(self, selector):
        """Clicks with the mouse in the middle of an element."""
        # Only when it stands still: a phone's page moves to bring what has the focus into sight.
        place = f"""(async () => {{
            const found = document.querySelector({json.dumps(selector)});
            for (let before = '', calm = 0; calm < 5; ) {{
                found.scrollIntoView({{block: 'nearest', behavior: 'instant'}});
                await new Promise(requestAnimationFrame);
                const box = found.getBoundingClientRect();
                const now = [box.x + box.width / 2, box.y + box.height / 2];
                calm = String(now) === before ? calm + 1 : 0;
                before = String(now);
                if (calm === 5) return now;
            }}
        }})()"""
        x, y = self.evaluate(place)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def write(self, selector, text):
        """Puts text in place of what a field holds, as typing does."""
        self.evaluate(f"(f => {{ f.focus(); f.select(); }})(document.querySelector({json.dumps(selector)}))")
        self.call("Input.insertText", text=text)

    def key(self, name):
        """Presses a key: one of KEYS or a character."""
        key = {"key": name, "code": name, "windowsVirtualKeyCode": KEYS.get(name, ord(name[0].upper()))}
        if name == "Enter":
            key["text"] = "\r"
        elif len(name) == 1:
            key["text"] = name
        self.call("Input.dispatchKeyEvent", type="keyDown", **key)
        self.call("Input.dispatchKeyEvent", type="keyUp", **{k: v for k, v in key.items() if k != "text"})

    def accessibility(self):
        """The rules of WCAG 2.1, A and AA, that the page breaks, each with its places, and how many it keeps; axe-core judges."""
        script = importlib.resources.files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
        self.evaluate(f"{script}; true")
        return self.evaluate(
            """axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']}).then(judged => ({
                broken: judged.violations.map(rule => `${rule.id}: ${rule.nodes.map(node => node.target.join(' ')).join(', ')}`),
                kept: judged.passes.length,
            }))"""
        )

    def picture(self, path):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        with open(path, "wb") as out:
            out.write(base64.b64decode(data))

    def faults(self, own):
        """What nobody wants to see: errors in the console, what the policy forbade, dialogs, requests to other hosts."""
        self.evaluate("1")
        found = []
        for event in self.events:
            name, what = event.get("method"), event.get("params", {})
            if name == "Log.entryAdded" and what["entry"]["level"] in ("error", "warning"):
                found.append(f"log: {what['entry']['text']}")
            elif name == "Runtime.exceptionThrown":
                found.append(f"exception: {what['exceptionDetails'].get('exception', {}).get('description')}")
            elif name == "Runtime.consoleAPICalled" and what["type"] in ("error", "warning", "assert"):
                found.append(f"console: {what['args']}")
            elif name == "Audits.issueAdded" and "Policy" in what["issue"]["code"]:
                found.append(f"policy: {what['issue']}")
            elif name == "Page.javascriptDialogOpening":
                found.append(f"dialog: {what['message']}")
                self.call("Page.handleJavaScriptDialog", accept=False)
            elif name in ("Network.requestWillBeSent", "Network.webSocketCreated"):
                url = what.get("url") or what["request"]["url"]
                if urllib.parse.urlsplit(url).netloc != own:
                    found.append(f"request: {url}")
        self.events.clear()
        return found

