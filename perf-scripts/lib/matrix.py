"""Drives `multiplane bench` through many scenarios and sizes, within a bounded time."""

import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import scripts

# What a round takes beside offering messages: starting, finding each other, ending; and what each process adds to that.
OVERHEAD = 0.1
PER_PROCESS = 0.03
# A run for throughput, and one of half the time for latency.
RUNS_OF_A_ROUND = 1.5
SHORTEST = 0.1
LONGEST = 3.0
# What is our own: if this loses anything or fails, something is wrong here. What peers lose is theirs, and is shown.
OURS = ("multiplane-", "base-")


def offered(multiplane, scenarios, contenders):
    """Which contenders run which scenarios by design, and why the others do not."""
    command = [multiplane, "bench", "--list", *words("--scenario", scenarios), *words("--contender", contenders)]
    asked = subprocess.run(command, capture_output=True, text=True)
    if asked.returncode:
        scripts.fail(f"`multiplane bench` failed: {asked.stderr.strip()}")
    runs, why_not = {}, {}
    for row in map(json.loads, asked.stdout.splitlines()):
        if row["error"]:
            why_not.setdefault(row["contender"], []).append(row["error"])
        else:
            runs.setdefault(row["scenario"], []).append(row["contender"])
    return runs, why_not


def words(option, values):
    return [word for value in values for word in [option, value]]


class Cell:
    """One scenario and size, with contenders that take turns."""

    def __init__(self, scenario, size, contenders):
        self.scenario, self.size, self.contenders = scenario, size, contenders
        _, _, parties = scenario.partition(":")
        more = int(parties) if scenario.startswith(("fan_", "many_backplanes")) else 0
        # A gateway, a broker and what is written in Python take their time.
        more += 50 if scenario.startswith(("to_", "from_")) else 0
        self.overhead = OVERHEAD + PER_PROCESS * (3 + more)

    def __str__(self):
        return f"{self.scenario}, {self.size} bytes"

    def takes(self, seconds):
        """One round, at full speed for so long."""
        return len(self.contenders) * (seconds * RUNS_OF_A_ROUND + self.overhead)

    def measure(self, multiplane, rounds, seconds, within):
        """Its rows, after so long at the latest."""
        with tempfile.TemporaryDirectory() as folder, scripts.Processes() as processes:
            out = pathlib.Path(folder, "rows.jsonl")
            command = [multiplane, "bench", "--scenario", self.scenario, "--size", self.size, "--rounds", rounds]
            command += ["--seconds", f"{seconds:.3f}", "--within", f"{within:.3f}", "--json", out]
            command += words("--contender", self.contenders)
            # In a group of its own, so that Ctrl-C gets there once, from here.
            bench = processes.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                    start_new_session=True)
            try:
                said = bench.communicate()[1]
            finally:
                # It ends its own processes when it is asked; being killed, it could not.
                if bench.poll() is None:
                    bench.send_signal(signal.SIGINT)
                    try:
                        bench.wait(timeout=10)
                    except subprocess.TimeoutExpired:
                        pass
            rows = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
            return rows or scripts.fail(f"`multiplane bench` failed: {said.strip()}")


class Matrix:
    """Cells, one after the other, within a bounded time."""

    def __init__(self, multiplane, cells, rounds, minutes):
        self.multiplane, self.cells = multiplane, cells
        self.deadline = time.monotonic() + minutes * 60
        least, most = (sum(cell.takes(seconds) for cell in cells) for seconds in [SHORTEST, LONGEST])
        if minutes * 60 < least:
            needed = least / 60
            scripts.fail(f"one round of {len(cells)} cells takes {needed:.1f} minutes at least: give --minutes "
                         f"{needed + 0.05:.1f}, or less to measure")
        # Rather fewer rounds than shorter runs than these.
        self.rounds = max(1, min(rounds, int(minutes * 60 / least)))
        overhead = sum(cell.takes(0) for cell in cells)
        share = (minutes * 60 / self.rounds - overhead) / (most - overhead)
        self.seconds = LONGEST * min(1, share)
        estimate = self.rounds * sum(cell.takes(self.seconds) for cell in cells) / 60
        scripts.say(f"{len(cells)} cells, {self.rounds} rounds: about {estimate:.1f} minutes, at full speed for "
                    f"{self.seconds:.2f} seconds a run; ends after {minutes:g} minutes at the latest")

    def measure(self, out):
        """Appends the results to `out`, cell by cell, and gives them back."""
        rows = []
        left = [cell.takes(self.seconds) for cell in self.cells]
        for nth, cell in enumerate(self.cells):
            scripts.say(f"{nth + 1} of {len(self.cells)}: {cell}")
            # What cells before have left over is shared out; a cell that takes too long takes nothing from the others.
            share = (self.deadline - time.monotonic()) * left[nth] / sum(left[nth:])
            found = cell.measure(self.multiplane, self.rounds, self.seconds, max(1, share))
            with out.open("a") as results:
                results.writelines(json.dumps(row) + "\n" for row in found)
            rows += found
        return rows


def show(rows, rounds):
    """A table for each scenario and size; says whether all that is ours was measured, and lost nothing."""
    fine = True
    shown = ["rate_per_s", "cpu_s_per_million", "p50_us", "p99_us", "p999_us", "lost", "reordered"]
    header = ["", "messages/s", "(min-max)", "CPU s/M", "p50 us", "p99", "p99.9", "lost", "reordered"]
    for scenario, size in dict.fromkeys((row["scenario"], row["payload_bytes"]) for row in rows):
        lines, notes = [], []
        for row in rows:
            if (row["scenario"], row["payload_bytes"]) != (scenario, size):
                continue
            who, ours = row["contender"], row["contender"].startswith(OURS)
            if "error" in row:
                notes.append(f"  {who}: not measured: {row['error']}")
                fine &= not ours
                continue
            rate, cpu, *latencies, lost, reordered = (row.get(name) for name in shown)
            spread = f"({row['rate_per_s_min']:,.0f}-{row['rate_per_s_max']:,.0f})"
            latencies = ["-" if value is None else f"{value:,.0f}" for value in latencies]
            lines.append([who, f"{rate:,.0f}", spread, "-" if cpu is None else f"{cpu:.2f}", *latencies,
                          f"{lost:,}", f"{reordered:,}"])
            if row["lossless_by"] != "drops" and lost + reordered + row["duplicates"] + row["foreign"]:
                notes.append(f"  {who}: LOST, DOUBLED OR OUT OF ORDER, though it should not by {row['lossless_by']}")
                fine &= not ours
            if row["rounds"] < rounds:
                notes.append(f"  {who}: {row['rounds']} of {rounds} rounds: the time was over")
        print(f"\n{scenario}, {size} bytes")
        if lines:
            scripts.table(header, lines)
        print(*notes, sep="\n") if notes else None
    sys.stdout.flush()
    return fine


def end(rows, rounds, out):
    """What is told at last; the exit code."""
    fine = show(rows, rounds)
    print(f"\nresults: {out}")
    return 0 if fine else 1
