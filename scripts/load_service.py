#!/usr/bin/env python3
"""Loads `haq serve` on loopback: 200 readers and 50 event streams while two searches run.

Makes a database with 1,000 runs and 1,000,000 episodes (copies of one small search with other
figures), starts the service on it, and measures:

- how long list, show and front take on the idle service, asked one after the other;
- how long two searches take with nobody watching, and with everybody watching;
- how long list, show and front take then, and how much memory the service has.

Prints a table. Needs a release build (`cargo build --release`), or `--haq PROGRAM`; a few minutes
and 2 GB of disk in a temporary folder. Nothing else should run on the machine.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SEARCH = {"profile": "bismo-edge", "budget": ["latency=0.5"], "strategy": "ddpg"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--haq", type=Path, default=ROOT / "target/release/haq", help="the program")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--episodes", type=int, default=1000, help="of each run")
    parser.add_argument("--readers", type=int, default=200)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds of a reader between two requests, on average")
    parser.add_argument("--search-episodes", type=int, default=400, help="of the two searches")
    return parser.parse_args()


class Service:
    """`haq serve` in a folder, until the block ends."""

    def __init__(self, haq, folder):
        command = [haq, "serve", "--listen", "127.0.0.1:0", "--searches", "2", "--threads", "1"]
        # All clients are one machine here.
        command += ["--requests-per-s", "1000000", "--requests-burst", "1000000"]
        self.process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
        self.url = re.search(r"http://\S+", self.process.stderr.readline()).group()
        self.port = int(self.url.rsplit(":", 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/v1/{path}", data, {"content-type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def memory_mb(self):
        """Resident memory of the service itself, without its searches."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text).group(1)) / 1024

    def wait(self, number):
        while (found := self.ask(f"searches/{number}"))["state"] in ("queued", "running"):
            time.sleep(0.2)
        assert found["state"] == "completed", found["error"]
        return found


def fill(database, options):
    """Copies of run 1, each with episodes of its own figures."""
    connection = sqlite3.connect(database)
    # Events of what is copied in would be news to nobody.
    triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    rows = lambda table, key: (
        [column[1] for column in connection.execute(f"PRAGMA table_info({table})")],
        connection.execute(f"SELECT * FROM {table} WHERE {key} = 1").fetchall(),
    )
    draw = random.Random(0)
    run_columns, [run] = rows("runs", "id")
    layer_columns, layers = rows("layers", "run_id")
    columns, episodes = rows("episodes", "run_id")
    at = {name: index for index, name in enumerate(columns)}
    put = lambda table, n: f"INSERT INTO {table} VALUES ({', '.join('?' * n)})"
    for number in range(2, options.runs + 1):
        copy = dict(zip(run_columns, run)) | {"id": number, "episodes": options.episodes, "best_episode": 0}
        connection.execute(put("runs", len(run)), list(copy.values()))
        connection.executemany(put("layers", len(layer_columns)), [(number, *layer[1:]) for layer in layers])
        best, made = (-1, 0), []
        for index in range(options.episodes):
            row = list(episodes[index % len(episodes)])
            row[at["run_id"]], row[at["episode_index"]] = number, index
            scale = draw.uniform(0.3, 1.0)
            for name in ("latency_s", "energy_j", "objective_cost"):
                row[at[name]] = episodes[0][at[name]] * scale
            row[at["quality"]] = row[at["top1"]] = min(0.99, 0.5 + 0.5 * scale + draw.gauss(0, 0.05))
            row[at["meets_budgets"]] = int(scale < 0.9)
            if index >= len(episodes):
                row[at["kind"]] = "proposal"
            if row[at["meets_budgets"]] and row[at["kind"]] != "reference":
                best = max(best, (row[at["quality"]], index))
            made.append(row)
        connection.executemany(put("episodes", len(columns)), made)
        connection.execute("UPDATE runs SET best_episode = ? WHERE id = ?", (best[1], number))
    connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'runs'", (options.runs,))
    for _, sql in triggers:
        connection.execute(sql)
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def some_path(draw, n_runs):
    number = draw.randint(2, n_runs)
    return draw.choice(
        [
            ("list", f"searches?limit=50&offset={draw.randint(0, n_runs - 50)}"),
            ("list", "searches?sort=quality&profile=bismo-edge"),
            ("show", f"searches/{number}"),
            ("front", f"searches/{number}/front"),
        ]
    )


async def fetch(reader, writer, path):
    writer.write(f"GET /api/v1/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    length = int(re.search(rb"content-length: (\d+)", head).group(1))
    await reader.readexactly(length)


async def read_on(service, options, seed, seconds, until):
    """One reader: asks, pauses, asks."""
    draw = random.Random(seed)
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port, limit=1 << 24)
    await asyncio.sleep(draw.uniform(0, options.pause))
    while not until.is_set():
        kind, path = some_path(draw, options.runs)
        start = time.perf_counter()
        await fetch(reader, writer, path)
        seconds[kind].append(time.perf_counter() - start)
        await asyncio.sleep(draw.uniform(0.5, 1.5) * options.pause)
    writer.close()


async def listen_on(service, counts, until):
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    while not until.is_set():
        with contextlib.suppress(asyncio.TimeoutError):
            line = await asyncio.wait_for(reader.readline(), 1)
            counts[0] += line.startswith(b"event:")
    writer.close()


async def watched(service, options, numbers):
    """Everybody reads until the searches have ended: seconds of each answer, events told, memory."""
    until, counts, memory = asyncio.Event(), [0], []
    seconds = {"list": [], "show": [], "front": []}
    tasks = [asyncio.create_task(read_on(service, options, seed, seconds, until)) for seed in range(options.readers)]
    tasks += [asyncio.create_task(listen_on(service, counts, until)) for _ in range(options.streams)]

    async def end():
        for number in numbers:
            while (await asyncio.to_thread(service.ask, f"searches/{number}"))["state"] in ("queued", "running"):
                memory.append(service.memory_mb())
                await asyncio.sleep(1)
        until.set()

    await asyncio.gather(end(), *tasks)
    return seconds, counts[0], memory


def idle(service, options):
    """The same questions one after the other, nothing else going on."""

    async def ask():
        draw, seconds = random.Random(0), {"list": [], "show": [], "front": []}
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port, limit=1 << 24)
        for _ in range(600):
            kind, path = some_path(draw, options.runs)
            start = time.perf_counter()
            await fetch(reader, writer, path)
            seconds[kind].append(time.perf_counter() - start)
        writer.close()
        return seconds

    return asyncio.run(ask())


def two_searches(service, options):
    search = SEARCH | {"episodes": options.search_episodes}
    return [service.ask("searches", search | {"seed": seed})["id"] for seed in (0, 1)]


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main():
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        small = [options.haq, "search", "--hw", "bismo-edge", "--budget", "latency=0.5", "--episodes", "60", "--quiet"]
        subprocess.run(small, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        print(f"filling a database with {options.runs * options.episodes:,} episodes …", file=sys.stderr, flush=True)
        fill(Path(folder) / "haq.db", options)
        print(f"{os.path.getsize(Path(folder) / 'haq.db') / 1e6:.0f} MB", file=sys.stderr, flush=True)
        with Service(options.haq, folder) as service:
            quiet = idle(service, options)
            start = service.memory_mb()
            alone = [service.wait(number)["wall_s"] for number in two_searches(service, options)]
            numbers = two_searches(service, options)
            busy, n_events, memory = asyncio.run(watched(service, options, numbers))
            with_all = [service.wait(number)["wall_s"] for number in numbers]
            after = idle(service, options)
            end = service.memory_mb()
    print("| request | idle p50, p99 ms | under load p50, p99 ms | requests | idle again p99 ms |\n|---|---|---|---|---|")
    ms = lambda values, share: f"{percentile(values, share) * 1e3:.1f}"
    for kind in ("list", "show", "front"):
        print(
            f"| {kind} | {ms(quiet[kind], 0.5)}, {ms(quiet[kind], 0.99)} | {ms(busy[kind], 0.5)}, {ms(busy[kind], 0.99)} "
            f"| {len(busy[kind])} | {ms(after[kind], 0.99)} |"
        )
    slower = statistics.mean(with_all) / statistics.mean(alone) - 1
    print(f"\nsearches: {alone[0]:.1f}, {alone[1]:.1f} s alone; {with_all[0]:.1f}, {with_all[1]:.1f} s watched ({slower:+.1%})")
    n_requests, seconds = sum(map(len, busy.values())), statistics.mean(with_all)
    print(f"about {n_requests / seconds:.0f} requests/s, {n_events} events told to {options.streams} streams")
    print(f"memory of the service: {start:.0f} MB at first, {min(memory):.0f} to {max(memory):.0f} MB under load, {end:.0f} MB at last")


if __name__ == "__main__":
    main()
