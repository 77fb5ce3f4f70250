#!/usr/bin/env python3
"""Records the timings of a fleet that scripts/plan_fleet.py plans with.

Runs one search whose policies workers of this machine judge, and keeps in a JSON file: how long
each evaluation took, how long the search took between a round's last answer and the next round's
first task, and what a worker's first task took beside its evaluation.

    scripts/record_fleet.py digits -- --hw bismo-edge --budget latency=0.5 --episodes 200
    scripts/record_fleet.py mine --round 8 --workers 2 -- --hw HW --model NET.onnx --data FOLDER
    scripts/record_fleet.py crowd --round 64 --workers 64 --sleep-s 1 -- --hw bismo-edge

With --sleep-s, workers only sleep and answer with a made-up quality: what the search itself needs
shows with more workers than this machine has cores. Needs the program (`cargo build --release`, or
--haq PROGRAM), and nats-server for --queue nats.
"""

import argparse
import datetime
import json
import os
import platform
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the recording; one of that name is replaced")
    parser.usage = "%(prog)s NAME [OPTIONS] -- ARGUMENTS OF haq search"
    parser.add_argument("--haq", type=Path, default=ROOT / "target/release/haq", help="the program")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/planning/timings.json", help="file that is added to")
    parser.add_argument("--queue", choices=["nats", "table"], default="nats")
    parser.add_argument("--server", help="nats://HOST:PORT of a server that is there, instead of one of its own")
    parser.add_argument("--replicas", type=int, default=1, help="servers that keep each message")
    parser.add_argument("--round", type=int, default=1)
    parser.add_argument("--in-flight", type=int, help="policies in flight of a search that learns as answers arrive")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--sleep-s", type=float, help="mean time that workers sleep instead of judging; over the table")
    parser.add_argument("--shape", help="recording whose evaluation times, scaled, are slept; equal times where absent")
    words = sys.argv[1:]
    border = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:border])
    options.search = words[border + 1 :]
    return options


def seconds(timestamp):
    return datetime.datetime.fromisoformat(timestamp).timestamp()


def logged(path, message):
    """(Unix time, fields) of each such line of a JSON log."""
    found = []
    for line in path.read_text().splitlines():
        if line.startswith("{") and f'"{message}"' in line:
            entry = json.loads(line)
            found.append((seconds(entry["timestamp"]), entry["fields"]))
    return found


class Server:
    """nats-server with JetStream on a free port, until the block ends."""

    def __init__(self, folder):
        program = shutil.which("nats-server", path=os.environ["PATH"] + ":/usr/sbin")
        if not program:
            raise SystemExit("record: install nats-server first, or say --queue table")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [program, "-js", "-a", "127.0.0.1", "-p", str(self.port), "-sd", str(folder / "nats")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(100):
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise SystemExit("record: nats-server does not start")

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Sleepers(threading.Thread):
    """Workers over the table that sleep; all of them are this one thread."""

    def __init__(self, database, n_workers, times_s):
        super().__init__(daemon=True)
        self.database, self.n_workers, self.times_s = database, n_workers, times_s
        self.takes, self.is_over, self.random = [], threading.Event(), random.Random(0)

    def run(self):
        while not self.database.exists() and not self.is_over.wait(0.05):
            pass
        connection = sqlite3.connect(self.database, timeout=60, isolation_level=None)
        asleep = []
        while not self.is_over.wait(0.002):
            try:
                self.step(connection, asleep)
            except sqlite3.OperationalError as error:
                # The tables are made a moment after the file.
                if "no such table" not in str(error):
                    raise

    def step(self, connection, asleep):
        now = time.time()
        for due in [entry for entry in asleep if entry[0] <= now]:
            asleep.remove(due)
            self.answer(connection, *due[1:])
        n_free = self.n_workers - len(asleep)
        waits = n_free and connection.execute("SELECT 1 FROM evaluations WHERE state = 'waiting' LIMIT 1").fetchone()
        if not waits:
            return
        leased = connection.execute(
            """UPDATE evaluations SET state = 'leased', attempt = attempt + 1, fence = fence + 1, worker = 'sleeper',
                   leased_until_unix_ms = ?
               WHERE id IN (SELECT id FROM evaluations WHERE state = 'waiting' ORDER BY id LIMIT ?)
               RETURNING id, task, payload""",
            (int(1000 * now) + 3_600_000, n_free),
        ).fetchall()
        for row, task, payload in leased:
            sleep_s = self.random.choice(self.times_s)
            self.takes.append((now, {"task": task}))
            asleep.append((now + sleep_s, row, task, payload, sleep_s))

    def answer(self, connection, row, task, payload, sleep_s):
        policy = json.dumps(json.loads(payload)["policy"])
        bits = [int(width) for width in re.findall(r"\b\d\b", policy)]
        kl = sum(4.0**-width for width in bits) / len(bits)
        quality = {"top1": 0.95 - kl, "top5": 1.0, "loss": 0.1 + kl, "agreement": 1.0 - kl, "kl": kl, "mse": kl}
        finding = {"quality": quality, "stopped_after_images": None, "arithmetic": "codes"}
        finding |= {"wall_s": sleep_s, "device": "none", "libtorch_version": "none"}
        answer = {"task": task, "attempt": 1, "worker": "sleeper", "payload": finding}
        connection.execute(
            """UPDATE evaluations SET state = 'answered', answer = ?, arrival =
                   (SELECT coalesce(max(arrival), 0) + 1 FROM evaluations WHERE state = 'answered')
               WHERE id = ? AND state = 'leased'""",
            (json.dumps(answer), row),
        )


def rounds_of(database, round_size):
    """How many episodes each round had, and how many of them were judged; references first."""
    rows = sqlite3.connect(database).execute(
        "SELECT kind = 'reference', from_cache FROM episodes WHERE run_id = 1 ORDER BY episode_index"
    ).fetchall()
    n_references = sum(is_reference for is_reference, _ in rows)
    found = []
    for part in (rows[:n_references], rows[n_references:]):
        for start in range(0, len(part), round_size):
            chunk = part[start : start + round_size]
            found.append((bool(chunk[0][0]), len(chunk), sum(not cached for _, cached in chunk)))
    return found


def summary(options, rounds, started, takes, answers):
    """What plan_fleet.py reads of it. All times in seconds."""
    spans, first = [], 0
    for is_reference, n_episodes, n_judged in rounds:
        if n_judged:
            last = first + n_judged
            spans.append((is_reference, n_episodes, takes[first][0], answers[last - 1][0]))
            first = last
    if first != len(answers):
        raise SystemExit(f"record: {len(answers)} answers arrived for {first} evaluations; record it again")
    proposals = [span for span in spans if not span[0]]
    if len(proposals) < 2:
        raise SystemExit("record: a single round of proposals tells nothing of the next one; it needs more --episodes")
    following = list(zip(proposals, proposals[1:]))
    references_end = max((span[3] for span in spans if span[0]), default=started)
    walls = [fields["wall_s"] for _, fields in answers]
    found = {
        "until_first_task_s": takes[0][0] - started,
        "before_first_proposal_s": proposals[0][2] - references_end,
        "evaluations_s": walls[len(answers) - sum(n for is_ref, _, n in rounds if not is_ref) :],
        # From a round's last answer to the next round's first task: learn, commit, propose, publish.
        "turns_s": [after[2] - before[3] for before, after in following],
        "episodes_per_s": sum(span[1] for span in proposals[1:]) / (proposals[-1][3] - proposals[0][3]),
    }
    if options.workers == 1 and options.sleep_s is None:
        beside = [told[0] - took[0] - wall for took, told, wall in zip(takes, answers, walls)]
        found |= {"first_task_beside_s": beside[0], "task_beside_s": beside[1:]}
    return found


def summary_in_flight(options, database, answers):
    """The same of a search that learns as answers arrive: there is no time between rounds."""
    rows = sqlite3.connect(database).execute(
        "SELECT kind = 'reference' FROM episodes WHERE run_id = 1 AND NOT from_cache"
    ).fetchall()
    own = answers[sum(is_reference for (is_reference,) in rows) :]
    # Until as many have arrived as are in flight the fleet fills up; at the end it runs empty.
    steady = own[options.in_flight : len(own) - options.in_flight]
    if len(steady) < 2:
        raise SystemExit("record: nothing is left between filling up and running empty; it needs more --episodes")
    rate = (len(steady) - 1) / (steady[-1][0] - steady[0][0])
    return {"evaluations_s": [fields["wall_s"] for _, fields in own], "episodes_per_s": rate}


def rounded(value):
    match value:
        case float():
            return round(value, 5)
        case list():
            return [rounded(one) for one in value]
        case dict():
            return {key: rounded(one) for key, one in value.items()}
    return value


def record(options, folder):
    database = folder / "haq.db"
    is_nats = options.queue == "nats" and options.sleep_s is None
    server = Server(folder) if is_nats and not options.server else None
    queue = f"nats://127.0.0.1:{server.port}" if server else options.server or str(database)
    replicas = ["--queue-replicas", options.replicas]
    log = ["--log", "info", "--log-format", "json"]
    pace = ["--in-flight", options.in_flight] if options.in_flight else ["--round", options.round]
    command = [options.haq, "search", *options.search, "--db", database, "--queue", queue, *pace]
    command += [*replicas, "--threads", 1, "--out", folder / "out", *log]
    files, workers, sleepers = [], [], None
    started = time.time()
    with open(folder / "search.log", "w") as errors:
        search = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=errors)
    try:
        if options.sleep_s is None:
            while queue == str(database) and not database.exists():
                time.sleep(0.05)
            for index in range(options.workers):
                own = ["worker", "--queue", queue, "--name", f"w{index}", "--cache", folder / f"cache{index}"]
                files.append(folder / f"worker{index}.log")
                with open(files[-1], "w") as errors:
                    words = [str(word) for word in [options.haq, *own, *replicas, "--threads", 1, *log]]
                    workers.append(subprocess.Popen(words, stdout=errors, stderr=errors))
        else:
            shape = read(options.out)["searches"][options.shape]["evaluations_s"] if options.shape else [1.0]
            mean = sum(shape) / len(shape)
            times_s = [options.sleep_s * one / mean for one in shape]
            sleepers = Sleepers(database, options.workers, times_s)
            sleepers.start()
        if search.wait() != 0:
            raise SystemExit(f"record: the search failed\n{(folder / 'search.log').read_text()[-2000:]}")
    finally:
        search.kill()
        if sleepers:
            sleepers.is_over.set()
            sleepers.join()
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
            worker.wait()
        if server:
            server.stop()
    takes = sleepers.takes if sleepers else sum((logged(file, "a task was taken") for file in files), [])
    takes.sort(key=lambda take: take[0])
    answers = logged(folder / "search.log", "an answer arrived")
    found = summary_in_flight(options, database, answers) if options.in_flight else summary(
        options, rounds_of(database, options.round), started, takes, answers
    )
    moved = [re.search(r"([\d.]+) MB", file.read_text()) for file in files]
    if any(moved):
        found["moved_mb"] = [float(one[1]) for one in moved if one]
    return found


def read(path):
    return json.loads(path.read_text()) if path.exists() else {"searches": {}}


def main():
    options = arguments()
    # Ended from outside, it ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory() as folder:
        found = record(options, Path(folder))
    told = {"search": [re.sub(r".*/", "", word) for word in options.search]}
    told |= {"queue": "table" if options.sleep_s is not None else options.queue, "round": options.round}
    told |= {"in_flight": options.in_flight} if options.in_flight else {}
    told |= {"replicas": options.replicas, "workers": options.workers, "sleep_s": options.sleep_s, "shape": options.shape}
    told |= {"recorded_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
    version = subprocess.run([options.haq, "--version"], capture_output=True, text=True).stdout.strip()
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    told |= {"program": version, "load_1_min": os.getloadavg()[0], "cores": os.cpu_count()}
    told |= {"machine": f"{cpu[1] if cpu else platform.machine()}, {platform.system()}"}
    kept = read(options.out)
    kept["searches"][options.name] = told | rounded(found)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(kept, indent=1)
    # A list of figures on one line.
    options.out.write_text(re.sub(r"\[[^\[\]{}\"]*\]", lambda m: re.sub(r"\s+", " ", m[0]), text) + "\n")
    brief = {key: value for key, value in kept["searches"][options.name].items() if not isinstance(value, list)}
    print(json.dumps(brief, indent=1))


if __name__ == "__main__":
    main()
