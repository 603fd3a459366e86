"""Drives `multiplane bench` through many scenarios and sizes, within a bounded time."""

import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

import scripts

# What a run takes beside offering messages: starting, finding each other, ending. More with more processes.
OVERHEAD = 0.6
# A run for throughput, and one of half the time for latency.
RUNS_OF_A_ROUND = 1.5
SHORTEST = 0.1
LONGEST = 3.0
# A share of the time for what takes longer than thought; then it is over.
GRACE = 1.25


def known(multiplane):
    """The contenders that a build has, from what it says of one that nobody has."""
    asked = subprocess.run([multiplane, "bench", "--contender", "?"], capture_output=True, text=True)
    names = re.search(r"there are ([\w, -]+)", asked.stderr)
    return names[1].split(", ") if names else scripts.fail(f"`multiplane bench` names no contenders: {asked.stderr}")


def offered(multiplane, scenarios, contenders):
    """Which contenders run which scenarios here, and why the others do not: by a very short run of each."""
    runs, why_not = {}, {}
    for scenario in scenarios:
        scripts.say(f"who can run {scenario}?")
        for row in cell(multiplane, scenario, 100, contenders, 1, 0.02, time.monotonic() + 60 + 10 * len(contenders)):
            if "error" in row:
                why_not.setdefault(row["contender"], {})[scenario] = row["error"]
            else:
                runs.setdefault(scenario, []).append(row["contender"])
    return runs, why_not


def cell(multiplane, scenario, size, contenders, rounds, seconds, deadline):
    """The rows of one cell; nothing when the time is over."""
    with tempfile.TemporaryDirectory() as folder, scripts.Processes() as processes:
        out = pathlib.Path(folder, "rows.jsonl")
        command = [multiplane, "bench", "--scenario", scenario, "--size", size, "--rounds", rounds]
        command += ["--seconds", f"{seconds:.3f}", "--json", out]
        command += [word for contender in contenders for word in ["--contender", contender]]
        # In a group of its own, so that Ctrl-C gets there once, from here.
        bench = processes.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                start_new_session=True)
        try:
            said = bench.communicate(timeout=max(1, deadline - time.monotonic()))[1]
        except subprocess.TimeoutExpired:
            said = None
        finally:
            # It ends its own processes when it is asked; being killed, it could not.
            if bench.poll() is None:
                bench.send_signal(signal.SIGINT)
                try:
                    bench.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    pass
        rows = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
        if said is None:
            return None
        if not rows:
            scripts.fail(f"`multiplane bench` failed: {said.strip()}")
        return rows


class Matrix:
    """Scenarios and sizes, each with contenders that take turns."""

    def __init__(self, multiplane, cells, rounds, minutes):
        """`cells`: scenario, size and contenders each."""
        self.multiplane, self.cells, self.rounds = multiplane, cells, rounds
        # A latency run has processes of its own; ping-pong and what is not offered take less.
        runs = rounds * sum(len(contenders) for _, _, contenders in cells)
        each = minutes * 60 / runs
        least = SHORTEST * RUNS_OF_A_ROUND + OVERHEAD
        if each < least:
            needed = least * runs / 60
            scripts.fail(f"{len(cells)} cells, {runs} rounds of contenders in all, take {needed:.1f} minutes at least: give "
                         f"--minutes {needed + 0.05:.1f}, fewer rounds, or less to measure")
        self.seconds = min(LONGEST, (each - OVERHEAD) / RUNS_OF_A_ROUND)
        estimate = runs * (self.seconds * RUNS_OF_A_ROUND + OVERHEAD) / 60
        self.deadline = time.monotonic() + minutes * 60 * GRACE
        scripts.say(f"{len(cells)} cells, {rounds} rounds: about {estimate:.1f} minutes, at full speed for "
                    f"{self.seconds:.2f} seconds a run; ends after {minutes * GRACE:.1f} minutes at the latest")

    def measure(self, out):
        """Appends the results to `out`, cell by cell, and gives them back with what was not measured for want of time."""
        rows, left = [], []
        for nth, (scenario, size, contenders) in enumerate(self.cells, 1):
            what = f"{scenario}, {size} bytes"
            if time.monotonic() >= self.deadline:
                left.append(what)
                continue
            scripts.say(f"{nth} of {len(self.cells)}: {what}")
            found = cell(self.multiplane, scenario, size, contenders, self.rounds, self.seconds, self.deadline)
            if found is None:
                left.append(what)
                continue
            with out.open("a") as results:
                results.writelines(json.dumps(row) + "\n" for row in found)
            rows += found
        return rows, left


def show(rows):
    """A table for each scenario and size; says whether all is lossless that says so."""
    honest = True
    shown = ["rate_per_s", "cpu_s_per_million", "p50_us", "p99_us", "p999_us", "lost", "reordered"]
    header = ["", "messages/s", "(min-max)", "CPU s/M", "p50 us", "p99", "p99.9", "lost", "reordered"]
    for scenario, size in dict.fromkeys((row["scenario"], row["payload_bytes"]) for row in rows):
        lines, missing = [], []
        for row in rows:
            if (row["scenario"], row["payload_bytes"]) != (scenario, size):
                continue
            if "error" in row:
                missing.append(f"  {row['contender']}: {row['error']}")
                continue
            rate, cpu, *latencies, lost, reordered = (row.get(name) for name in shown)
            spread = f"({row['rate_per_s_min']:,.0f}-{row['rate_per_s_max']:,.0f})"
            latencies = ["-" if value is None else f"{value:,.0f}" for value in latencies]
            lines.append([row["contender"], f"{rate:,.0f}", spread, "-" if cpu is None else f"{cpu:.2f}", *latencies,
                          f"{lost:,}", f"{reordered:,}"])
            if row["lossless_by"] != "drops" and lost + reordered + row["duplicates"] + row["foreign"]:
                missing.append(f"  {row['contender']}: LOST, DOUBLED OR OUT OF ORDER, though lossless by "
                               f"{row['lossless_by']}")
                honest = False
        print(f"\n{scenario}, {size} bytes")
        if lines:
            scripts.table(header, lines)
        print(*missing, sep="\n") if missing else None
    sys.stdout.flush()
    return honest


def end(rows, left, out):
    """What is told at last; the exit code."""
    honest = show(rows)
    print(f"\nresults: {out}")
    if left:
        print(f"NOT MEASURED, the time was over: {'; '.join(left)}")
    return 0 if honest and not left and rows else 1
