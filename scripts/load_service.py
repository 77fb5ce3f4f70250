#!/usr/bin/env python3
"""Loads `haq serve` on loopback: 200 readers and 50 event streams while two searches run.

Makes a database with 1,000 runs and 1,000,000 episodes (copies of one small search with other
figures), starts the service on it, and measures:

- how long list, show and front take on the idle service, asked one after the other, and how much
  processor time of the service;
- how long two searches take with nobody watching, and with everybody watching;
- how long list, show and front take then, and how much memory the service has.

All clients are one thread that waits for many sockets at once: it runs on the same machine, and
what it takes is missing elsewhere. Its own processor time is printed beside the service's.

Prints a table. Needs a release build (`cargo build --release`), or `--haq PROGRAM`; a few minutes
and 2 GB of disk in a temporary folder. Nothing else should run on the machine.
"""

import argparse
import heapq
import json
import os
import random
import re
import selectors
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
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

    def cpu_s(self):
        """Processor time of the service itself so far, without its searches."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait(self, number):
        while (found := self.ask(f"searches/{number}"))["state"] in ("queued", "running"):
            time.sleep(0.2)
        assert found["state"] == "completed", found["error"]
        return found


def fill(database, options):
    """Copies of run 1, each with episodes of its own figures."""
    connection = sqlite3.connect(database)
    # Events of what is copied in would be news to nobody.
    triggers = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'event_of%'"
    ).fetchall()
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
        copy = dict(zip(run_columns, run)) | {"id": number, "episodes": options.episodes, "best_episode": None}
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


class Reader:
    """One connection that asks, waits for the answer, pauses, asks."""

    def __init__(self, port, number):
        self.number, self.draw = number, random.Random(number)
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answer = bytearray()

    def ask(self, path):
        self.answer.clear()
        self.length = None
        self.began = time.perf_counter()
        self.socket.sendall(f"GET /api/v1/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())

    def has_answer(self):
        """Reads what has come; whether it is the whole answer."""
        self.answer += self.socket.recv(1 << 18)
        if self.length is None and (head := self.answer.find(b"\r\n\r\n")) >= 0:
            assert self.answer.startswith(b"HTTP/1.1 200"), bytes(self.answer)
            self.length = head + 4 + int(re.search(rb"content-length: (\d+)", self.answer).group(1))
        return self.length is not None and len(self.answer) >= self.length


class Stream:
    """One connection that events are told to; counts them."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        self.rest, self.n_events = b"", 0

    def read(self):
        text = self.rest + self.socket.recv(1 << 18)
        self.n_events += text.count(b"\nevent:")
        self.rest = text[-6:]


def watched(service, options, numbers):
    """Everybody reads until the searches have ended: seconds of each answer, events told, memory."""
    ended, memory = threading.Event(), []

    def wait_for_end():
        for number in numbers:
            while service.ask(f"searches/{number}")["state"] in ("queued", "running"):
                memory.append(service.memory_mb())
                time.sleep(1)
        ended.set()

    seconds = {"list": [], "show": [], "front": []}
    streams = [Stream(service.port) for _ in range(options.streams)]
    readers = [Reader(service.port, number) for number in range(options.readers)]
    selector = selectors.DefaultSelector()
    for client in streams + readers:
        selector.register(client.socket, selectors.EVENT_READ, client)
    now = time.perf_counter()
    due = [(now + reader.draw.uniform(0, options.pause), at) for at, reader in enumerate(readers)]
    heapq.heapify(due)
    threading.Thread(target=wait_for_end).start()
    while not ended.is_set():
        now = time.perf_counter()
        while due and due[0][0] <= now:
            reader = readers[heapq.heappop(due)[1]]
            reader.kind, path = some_path(reader.draw, options.runs)
            reader.ask(path)
        for key, _ in selector.select(min(0.5, max(0, due[0][0] - time.perf_counter())) if due else 0.5):
            client = key.data
            if isinstance(client, Stream):
                client.read()
            elif client.has_answer():
                now = time.perf_counter()
                seconds[client.kind].append(now - client.began)
                pause = client.draw.uniform(0.5, 1.5) * options.pause
                heapq.heappush(due, (now + pause, client.number))
    for client in streams + readers:
        client.socket.close()
    return seconds, sum(stream.n_events for stream in streams), memory


def idle(service, options):
    """The same questions one after the other, nothing else going on: seconds of each answer, and
    processor milliseconds of the service for one of each kind."""
    reader, paths = Reader(service.port, 0), {"list": [], "show": [], "front": []}
    for _ in range(1000):
        kind, path = some_path(reader.draw, options.runs)
        paths[kind].append(path)
    seconds, cpu_ms = {}, {}
    for kind, asked in paths.items():
        seconds[kind], before = [], service.cpu_s()
        for path in asked:
            reader.ask(path)
            while not reader.has_answer():
                pass
            seconds[kind].append(time.perf_counter() - reader.began)
        cpu_ms[kind] = (service.cpu_s() - before) / len(asked) * 1e3
    reader.socket.close()
    return seconds, cpu_ms


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
            quiet, cpu_ms = idle(service, options)
            start = service.memory_mb()
            alone = [service.wait(number)["wall_s"] for number in two_searches(service, options)]
            service_s, client_s, began = service.cpu_s(), time.process_time(), time.perf_counter()
            numbers = two_searches(service, options)
            busy, n_events, memory = watched(service, options, numbers)
            took = time.perf_counter() - began
            service_s, client_s = service.cpu_s() - service_s, time.process_time() - client_s
            with_all = [service.wait(number)["wall_s"] for number in numbers]
            after, _ = idle(service, options)
            end = service.memory_mb()
    print("| request | CPU ms | idle p50, p99 ms | under load p50, p99 ms | requests | idle again p99 ms |\n|---|---|---|---|---|---|")
    ms = lambda values, share: f"{percentile(values, share) * 1e3:.1f}"
    for kind in ("list", "show", "front"):
        print(
            f"| {kind} | {cpu_ms[kind]:.2f} | {ms(quiet[kind], 0.5)}, {ms(quiet[kind], 0.99)} "
            f"| {ms(busy[kind], 0.5)}, {ms(busy[kind], 0.99)} | {len(busy[kind])} | {ms(after[kind], 0.99)} |"
        )
    slower = statistics.mean(with_all) / statistics.mean(alone) - 1
    print(f"\nsearches: {alone[0]:.1f}, {alone[1]:.1f} s alone; {with_all[0]:.1f}, {with_all[1]:.1f} s watched ({slower:+.1%})")
    n_requests = sum(map(len, busy.values()))
    print(f"{n_requests / took:.0f} requests/s, {n_events} events told to {options.streams} streams, in {took:.0f} s")
    print(f"processor time under load: {service_s:.1f} s of the service, {client_s:.1f} s of all clients")
    print(f"memory of the service: {start:.0f} MB at first, {min(memory):.0f} to {max(memory):.0f} MB under load, {end:.0f} MB at last")


if __name__ == "__main__":
    main()
