"""What the scripts beside this folder share: building, processes that never outlive the script, /proc, tables."""

import argparse
import json
import os
import pathlib
import queue
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAME = "perf-scripts/" + pathlib.Path(sys.argv[0]).name
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
RUNS = ROOT / "bench" / "runs"

# Those with a process in the middle that every build has.
CONTENDERS = ["multiplane-native", "multiplane-libzmq", "libzmq-native", "libzmq-proxy", "base-tcp"]


def main(run, parser):
    """Runs a script. However it ends, what it started ends before it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(run(parser.parse_args()))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)


def parser(text, epilog=None):
    shape = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(prog=NAME, description=text, epilog=epilog, formatter_class=shape)


def fail(why):
    sys.stdout.flush()
    print(f"{NAME}: {why}", file=sys.stderr)
    sys.exit(1)


def say(what):
    print(what, file=sys.stderr, flush=True)


def positive(text):
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def count(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def size(text):
    value = int(text)
    if value < 16:
        raise argparse.ArgumentTypeError("a payload is 16 bytes or more: each carries its number and time")
    return value


def need(program, package):
    """The path of a program that is not part of the toolchain."""
    path = shutil.which(program)
    return path or fail(f"there is no {program} here: install it (Debian: apt-get install {package})")


def peers(no_install):
    """Installs those that this machine can have, or only looks; the cargo features that they need to be measured."""
    # What is missing is said on standard error.
    command = [ROOT / "perf-scripts" / "lib" / "install-peers", *(["--check"] if no_install else [])]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if told.returncode:
        fail("perf-scripts/lib/install-peers failed")
    return told.stdout.strip()


def build(package, name, *options):
    """Builds a program, optimised; its path."""
    say(f"building {name}")
    return executable(["cargo", "build", "--release", "--package", package, "--bin", name, *options], name)


def executable(command, name):
    """What cargo builds by that name."""
    built = subprocess.run([*command, "--quiet", "--message-format=json"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if built.returncode:
        print(*compiler_errors(built.stdout), sep="\n", file=sys.stderr)
        fail(f"`{' '.join(command)}` failed")
    for line in built.stdout.splitlines():
        said = json.loads(line) if line.startswith("{") else {}
        if said.get("executable") and said["target"]["name"] == name:
            return said["executable"]
    fail(f"cargo does not say where it put {name}")


def compiler_errors(output):
    for line in output.splitlines():
        said = json.loads(line) if line.startswith("{") else {}
        if said.get("reason") == "compiler-message" and said["message"]["level"] == "error":
            yield said["message"]["rendered"]


class Processes:
    """Processes that end with the `with` block, whatever ends that."""

    def __init__(self):
        self.started = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # The last first, so that no component sees its backplane go.
        for process in reversed(self.started):
            if process.poll() is None:
                process.kill()
            process.wait()

    def start(self, command, **options):
        process = subprocess.Popen([str(word) for word in command], **options)
        self.started.append(process)
        return process


class Backplane:
    """`multiplane backplane` on free ports of loopback."""

    def __init__(self, processes, multiplane, *options):
        command = [multiplane, "backplane", "--publisher-port", 0, "--subscriber-port", 0, *options]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self.process = processes.start(command, **pipes)
        ports = {}
        for line in self.process.stdout:
            which, _, port = line.partition(" Port = ")
            if port:
                ports[which.strip()] = int(port)
            if len(ports) == 2:
                break
        else:
            fail(f"the backplane did not start: {self.process.stderr.read().strip()}")
        self.publisher_port, self.subscriber_port = ports["Publisher"], ports["Subscriber"]
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def close(self):
        """Ends it; what it says about its books."""
        self.process.send_signal(signal.SIGINT)
        return self.process.stderr.read().strip()


class Role:
    """One process of a measurement, and the lines of JSON that it hears and says (bench/src/role.rs)."""

    # A program under valgrind takes its time to start.
    PATIENCE = 120

    def __init__(self, processes, command, part, place):
        spec = json.dumps({"part": part, "place": place, "core": None})
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = processes.start([*command, spec], **pipes)
        self.said = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.process.stdout:
            answer = json.loads(line)
            self.said.put(next(iter(answer.items())) if isinstance(answer, dict) else (answer, None))
        self.said.put(("Failed", "it ended"))

    def order(self, order):
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # Why it ended is among the answers.

    def expect(self, wanted, patience=PATIENCE):
        while True:
            try:
                kind, value = self.said.get(timeout=patience)
            except queue.Empty:
                fail(f"a process of the measurement did not say `{wanted}` for {patience} seconds")
            if kind == wanted:
                return value
            if kind == "Failed":
                fail(f"a process of the measurement failed: {value}")

    def end(self):
        self.order("Stop")
        self.expect("Ended")
        self.process.stdin.close()
        if self.process.wait(timeout=self.PATIENCE) != 0:
            fail(f"a process of the measurement ended with {self.process.returncode}")


class OneToOne:
    """A publisher, a middle and a subscriber of one contender, through to each other and held until `go`."""

    def __init__(self, processes, contender, size, role, wrap=None, nanos=3600 * 10**9, most=None):
        place = {"contender": contender, "scenario": "OneToOne", "ports": []}
        load = {"publisher": 0, "size": size, "nanos": nanos, "most": most, "rate": None}
        parts = {
            "middle": "Middle",
            "publisher": {"Publisher": {"load": load, "window": None}},
            "subscriber": {"Subscriber": {"size": size, "latency": False, "credit_every": None}},
        }
        self.roles = {}
        for name, part in parts.items():
            command = [*(wrap(name) if wrap else []), *role]
            self.roles[name] = Role(processes, command, part, place)
            ports = self.roles[name].expect("Ready")
            if name == "middle":
                place["ports"] = ports
        self.roles["subscriber"].expect("Heard")

    def go(self):
        self.roles["publisher"].order("Go")

    def finish(self, patience):
        """Waits until everything has arrived, and ends it; how much was sent and what was seen."""
        sent = self.roles["publisher"].expect("Offered", patience)["sent"]
        self.roles["subscriber"].order({"Expect": sent})
        seen = self.roles["subscriber"].expect("Seen", patience)
        # The ends before the middle, so that none of them sees a link go down.
        for name in ["publisher", "subscriber", "middle"]:
            self.roles[name].end()
        return sent, seen


def tasks(pid, name):
    """A file of every thread of a process."""
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            yield (task / name).read_text()
        except (FileNotFoundError, ProcessLookupError):
            pass  # A thread that has ended meanwhile.


def field(text, name):
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(name + ":"))


def resident(pid):
    """Resident memory in KiB."""
    return field(pathlib.Path(f"/proc/{pid}/status").read_text(), "VmRSS")


def switches(pid):
    """How often its threads went to sleep, and how often they were made to stop, since they began."""
    texts = list(tasks(pid, "status"))
    return tuple(sum(field(text, kind + "_ctxt_switches") for text in texts) for kind in ["voluntary", "nonvoluntary"])


def busy(pid):
    """Processor time in seconds; `/proc/PID/stat` counts whole ticks, the scheduler counts nanoseconds."""
    return sum(int(text.split()[0]) for text in tasks(pid, "schedstat")) / 1e9


def ticks(pid):
    """Processor time in clock ticks."""
    user, system = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return int(user) + int(system)


def table(header, rows):
    """Rows under a header, the first column to the left."""
    lines = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*lines)]
    for line in lines:
        cells = [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))]
        print("  ".join(cells).rstrip())


def spread(values, digits=1):
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"


def stamp():
    return time.strftime("%Y-%m-%d-%H%M%S", time.gmtime())
