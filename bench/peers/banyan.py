"""The ends of Python Banyan, measured as bench/src/role.rs measures the others, and its backplane on loopback.

One argument: the role, as JSON; orders come as lines of JSON on standard input, answers go to standard output.
Or three: `backplane`, and its publisher port and subscriber port.
"""

import json
import os
import struct
import sys
import threading
import time
import types

TOPIC, BACK = "bench/topic", "bench/reply"
STAMP = struct.Struct("<QQ")
PROBE = (1 << 48) - 1
PROBE_EVERY = 0.005
WATCH_EVERY = 0.002
QUIET = 500_000_000
OPEN_EVERY = 50_000_000
PATIENCE = 10
# The clock is read for every so many messages only.
CLOCK_EVERY = 64


def backplane(publishers, subscribers):
    """The real one. It listens where the machine's way to the internet begins, and on loopback if there is none."""
    from python_banyan.backplane import backplane as real

    class NoWay:
        def __init__(self, *_):
            pass

        def connect(self, _):
            raise OSError("only loopback is wanted")

        def close(self):
            pass

    real.socket = types.SimpleNamespace(socket=NoWay, AF_INET=None, SOCK_DGRAM=None)
    real.BackPlane(subscriber_port=subscribers, publisher_port=publishers)


def tell(answer):
    line = json.dumps(answer).encode() + b"\n"
    with telling:
        os.write(out, line)


def orders():
    """Each order; ends the process with its measuring process."""
    for line in sys.stdin:
        yield json.loads(line)
    os._exit(0)


class Orders:
    """What came, for who waits for it; credit is only ever raised."""

    def __init__(self, window):
        self.changed = threading.Condition()
        self.credit = window
        self.expect = None
        self.seen = set()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for order in orders():
            if order == "Cpu":
                tell({"Cpu": time.process_time_ns()})
                continue
            with self.changed:
                if isinstance(order, str):
                    self.seen.add(order)
                elif "Credit" in order:
                    self.credit = max(self.credit, order["Credit"])
                elif "Expect" in order:
                    self.expect = order["Expect"]
                self.changed.notify_all()

    def wait(self, ready, timeout=None):
        with self.changed:
            return self.changed.wait_for(ready, timeout)


class Tally:
    """What bench/src/tally.rs counts, but for what was late for long: gaps are all remembered."""

    def __init__(self, publishers, size, latency):
        self.size = size
        self.next = [0] * publishers
        self.missing = [set() for _ in range(publishers)]
        self.received = self.reordered = self.duplicates = self.foreign = 0
        self.first = self.last = self.at_last = 0
        self.latencies = {} if latency else None

    def note(self, payload):
        """Publisher and number of a message of ours; a number of `PROBE` counts nothing."""
        if len(payload) != self.size:
            self.foreign += 1
            return None, None
        head, due = STAMP.unpack_from(payload)
        publisher, number = head >> 48, head & PROBE
        if publisher >= len(self.next):
            self.foreign += 1
            return None, None
        if number == PROBE:
            return publisher, number
        self.received += 1
        expected = self.next[publisher]
        if number >= expected:
            if number > expected:
                self.missing[publisher].update(range(expected, number))
            self.next[publisher] = number + 1
        elif number in self.missing[publisher]:
            self.missing[publisher].discard(number)
            self.reordered += 1
        else:
            self.duplicates += 1
        if self.latencies is not None:
            now = time.monotonic_ns()
            late = max(1, now - due)
            # Three digits are kept, as in the histograms of the others.
            unit = 1 << max(0, late.bit_length() - 10)
            late = (late // unit + 1) * unit - 1
            self.latencies[late] = self.latencies.get(late, 0) + 1
            self.read_clock(now)
        elif self.received % CLOCK_EVERY == 1:
            self.read_clock(time.monotonic_ns())
        return publisher, number

    def read_clock(self, now):
        if self.received == 1:
            self.first = now
        self.last, self.at_last = now, self.received

    def answer(self):
        return {"Seen": {
            "received": self.received,
            "distinct": [next - len(missing) for next, missing in zip(self.next, self.missing)],
            "reordered": self.reordered,
            "duplicates": self.duplicates,
            "foreign": self.foreign,
            "first": self.first,
            "last": self.last,
            "between": max(0, self.at_last - 1),
            "latencies": sorted((self.latencies or {}).items()),
        }}


def payload_of(size, publisher, number, due):
    return STAMP.pack(publisher << 48 | number, due) + bytes(size - STAMP.size)


def publish(end, load, orders):
    size, publisher = load["size"], load["publisher"]
    rest = bytes(size - STAMP.size)

    def send(number, due):
        end.publish_payload({"payload": STAMP.pack(publisher << 48 | number, due) + rest}, TOPIC)

    while not orders.wait(lambda: orders.seen, PROBE_EVERY):
        send(PROBE, 0)
    if "Go" not in orders.seen:
        return
    sent, late = 0, []
    start = time.monotonic_ns()
    stop = start + load["nanos"]
    rate, most = load["rate"], load.get("most") or PROBE
    while sent < most:
        due = start + int(sent * 1e9 / rate) if rate else 0
        if (due if rate else time.monotonic_ns()) >= stop:
            break
        if rate:
            while (left := due - time.monotonic_ns()) > 0:
                # Sleepers are woken late; the last of it is waited for awake.
                time.sleep(max(0, left - 150_000) / 1e9)
            late.append(-left)
        if orders.credit <= sent and not orders.wait(lambda: orders.credit > sent, PATIENCE):
            raise RuntimeError("no subscriber has made room for 10 seconds")
        send(sent, due)
        sent += 1
    late.sort()
    tell({"Offered": {"sent": sent, "late_p99": late[len(late) * 99 // 100] if late else 0}})


# What receiving ends do: `hear` is called with each payload by the receive loop.


class Counting:
    def __init__(self, part, publishers, orders):
        self.tally = Tally(publishers, part["size"], part["latency"])
        self.every, self.told = part["credit_every"], [0] * publishers
        self.heard = set()
        self.orders, self.publishers, self.over = orders, publishers, threading.Event()
        threading.Thread(target=self.watch, daemon=True).start()

    def hear(self, payload):
        publisher, number = self.tally.note(payload)
        if number == PROBE:
            if publisher not in self.heard:
                self.heard.add(publisher)
                if len(self.heard) == self.publishers:
                    tell("Heard")
        elif number is not None and self.every and number + 1 >= self.told[publisher] + self.every:
            self.told[publisher] = number + 1
            tell({"Credit": {"publisher": publisher, "below": number + 1}})

    def watch(self):
        """Tells the count when all has arrived that was sent, or nothing has arrived for long."""
        self.orders.wait(lambda: self.orders.expect is not None or "Stop" in self.orders.seen)
        arrived, since = -1, time.monotonic_ns()
        while self.tally.received < (self.orders.expect or 0):
            if arrived != self.tally.received:
                arrived, since = self.tally.received, time.monotonic_ns()
            if time.monotonic_ns() - since > QUIET or self.orders.wait(lambda: "Stop" in self.orders.seen, WATCH_EVERY):
                break
        tell(self.tally.answer())


class Echoing:
    def __init__(self, end):
        self.end = end

    def hear(self, payload):
        self.end.publish_payload({"payload": payload}, BACK)


class Pinging:
    def __init__(self, end, load, orders):
        self.orders = orders
        self.end, self.size, self.nanos = end, load["size"], load["nanos"]
        self.tally = Tally(1, self.size, True)
        self.sent, self.stop, self.last, self.finished = 0, None, 0, False
        end.receive_loop_idle_addition = self.idle

    def idle(self):
        """Speaks until it is heard; then ends what a lost message would hold up for ever."""
        now = time.monotonic_ns()
        if self.stop is None and "Go" in self.orders.seen and now - self.last > OPEN_EVERY:
            self.last = now
            self.end.publish_payload({"payload": payload_of(self.size, 0, PROBE, 0)}, TOPIC)
        elif self.stop is not None and now - self.last > QUIET:
            self.finish()

    def hear(self, payload):
        _, number = self.tally.note(payload)
        if self.stop is not None and (number is None or number == PROBE):
            return
        now = time.monotonic_ns()
        if self.stop is None:
            self.stop = now + self.nanos
        if now >= self.stop:
            self.finish()
            return
        self.last = now
        self.end.publish_payload({"payload": payload_of(self.size, 0, self.sent, now)}, TOPIC)
        self.sent += 1

    def finish(self):
        if not self.finished:
            self.finished = True
            tell({"Offered": {"sent": self.sent, "late_p99": 0}})
            tell(self.tally.answer())


def play(role):
    from python_banyan.banyan_base import BanyanBase

    class End(BanyanBase):
        hear = None

        def __init__(self, ports):
            publishers, subscribers = map(str, ports)
            super().__init__("127.0.0.1", subscribers, publishers, process_name="bench", loop_time=0.0001)

        def incoming_message_processing(self, topic, payload):
            self.hear(payload["payload"])

    part, place = role["part"], role["place"]
    kind, what = (part, None) if isinstance(part, str) else next(iter(part.items()))
    scenario = place["scenario"]
    publishers = scenario.get("FanIn", 1) if isinstance(scenario, dict) else 1
    window = what.get("window") if kind == "Publisher" else None
    orders = Orders(PROBE if window is None else window)
    end = End(place["ports"][:2])
    tell({"Ready": []})
    if kind == "Publisher":
        publish(end, what["load"], orders)
    else:
        hearing = {
            "Subscriber": lambda: Counting(what, publishers, orders),
            "Pinger": lambda: Pinging(end, what, orders),
            "Echo": lambda: Echoing(end),
        }[kind]()
        end.hear = hearing.hear
        end.set_subscriber_topic(BACK if kind == "Pinger" else TOPIC)
        threading.Thread(target=end.receive_loop, daemon=True).start()
    orders.wait(lambda: "Stop" in orders.seen)
    tell("Ended")
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "backplane":
        backplane(*sys.argv[2:4])
    else:
        # Banyan greets on standard output, where the answers go.
        out, telling = os.dup(1), threading.Lock()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        try:
            play(json.loads(sys.argv[1]))
        except Exception as error:
            tell({"Failed": f"banyan: {error}"})
            raise
