#!/usr/bin/env python3
"""Writes the tables and the plot of docs/planning.md from docs/planning/*.json.

    scripts/plan_page.py            # after scripts/record_fleet.py
    scripts/plan_page.py --check    # whether the page says what the recordings say

Each table stands between <!-- NAME --> and <!-- end -->; all else of the page is written by hand.
"""

import argparse
import json
import math
import re
import statistics
from dataclasses import replace

from plan_fleet import (
    GROWTH, MODES, RECORDED, ROOT, SPREAD, figure, fleet_like, growth, in_flight, in_rounds, per_episode,
    seconds_words, steady,
)

PAGE = ROOT / "docs/planning.md"
PLOT = RECORDED.parent / "throughput.svg"
QUALITY = RECORDED.parent / "quality.json"

EVALUATIONS_S = [0.1, 1, 10, 60]
WORKERS = [1, 4, 16, 64, 250, 1000]

# An idle process looks into the table every 20 ms.
TABLE_LOOK_S = 0.01

# Recordings with one worker and a round of one, and what each is called.
NETWORKS = {
    "digits": "digits (12 layers), `ddpg`",
    "digits-evolution": "the same, `evolution`",
    "digits-random": "the same, `random`",
    "digits-random-table": "the same, `random`, over the table",
    "resnet20": "ResNet-20 (20 layers), `ddpg`",
}

# Recordings that are foretold by others.
RUNS = {
    "resnet20-8": ("resnet20", "ResNet-20, judged"),
    "resnet20-flight-4": ("resnet20", "ResNet-20, judged"),
    "sleep-4": ("digits", "digits, sleeps of 1 s"),
    "sleep-16": ("digits", "digits, sleeps of 1 s"),
    "sleep-16-2": ("digits", "digits, sleeps of 1 s"),
    "sleep-flight-32": ("digits", "digits, sleeps of 1 s"),
    "sleep-64": ("digits", "digits, sleeps of 1 s"),
    "sleep-64-2": ("digits", "digits, sleeps of 1 s"),
    "sleep-flight-128": ("digits", "digits, sleeps of 1 s"),
    **{f"random-flight-{n}": ("digits-random-table", "digits, `random`, sleeps of 0.2 s") for n in (2, 4, 8, 16)},
}


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def recorded(searches):
    rows = []
    for name, what in NETWORKS.items():
        own = searches[name]
        times = sorted(own["evaluations_s"])
        low, high = (times[int(share * (len(times) - 1))] for share in (0.05, 0.95))
        mean = statistics.fmean(times)
        search_s = per_episode(own)
        rows.append([
            what, f"{figure(mean)} ({figure(low / mean)} to {figure(high / mean)} of it)", figure(1000 * search_s),
            figure(1 / search_s), figure(own["until_first_task_s"] + own["before_first_proposal_s"]),
            figure(own["first_task_beside_s"]), own["moved_mb"][0], f"{own['load_1_min']:.0f}",
        ])
    header = ["search", "evaluation, s (5 to 95 %)", "search's own, ms an episode", "at most, episodes/s",
              "before the first proposal, s", "a worker's set-up, s", "MB moved", "load"]
    return table(header, rows)


def grown(searches):
    """Multiples, since other work slowed the whole recording down."""
    turns = searches[GROWTH]["turns_s"]
    rate, first_s = growth(searches), statistics.fmean(turns[:100])
    rows = []
    for n in (200, 400, 600, 750, 1000, 2000, 5000):
        near = turns[n - 50 : n + 50]
        measured = figure(statistics.fmean(near) / first_s) if n + 45 <= len(turns) else ""
        whole_s = [per_episode(searches[name]) * (n + rate * n**3 / 3) for name in ("digits", "resnet20")]
        rows.append([f"{n:,}", measured, figure(1 + rate * n**2), *map(seconds_words, whole_s)])
    return table(["episode", "measured, times the first", "fitted", "the search itself until then, digits", "ResNet-20"], rows)


def validation(searches):
    rows = []
    for name, (base, what) in RUNS.items():
        own = searches[name]
        fleet = fleet_like(searches, base, own["workers"], own["sleep_s"])
        # Of these searches the first episodes alone count, which have not grown.
        if own["queue"] == "table":
            fleet = replace(fleet, beside_s=TABLE_LOOK_S)
        if own["sleep_s"] is not None:
            fleet = replace(fleet, evaluations_s=own["evaluations_s"])
        n_episodes, measured = len(own["evaluations_s"]), own["episodes_per_s"]
        simulate, n, how = in_rounds, own["round"], f"rounds of {own['round']}"
        if own.get("in_flight"):
            simulate, n, how = in_flight, own["in_flight"], f"{own['in_flight']} in flight"
        predicted = statistics.fmean(simulate(fleet, n, n_episodes, seed) for seed in range(20))
        rows.append([
            what, own["workers"], how, f"{own['load_1_min']:.0f}", figure(measured), figure(predicted),
            f"{round(100 * (predicted / measured - 1)):+d} %",
        ])
    return table(["search", "workers", "mode", "load", "measured, episodes/s", "predicted", "error"], rows)


def throughput(searches):
    rows = []
    for evaluation_s in EVALUATIONS_S:
        for mode, simulate, factor in MODES:
            fleets = [fleet_like(searches, SPREAD, n_workers, evaluation_s) for n_workers in WORKERS]
            rates = [steady(simulate, fleet, factor * fleet.n_workers) for fleet in fleets]
            rows.append([f"{evaluation_s} s", mode, *map(figure, rates)])
    return table(["evaluation", "mode", *(f"{n:,}" for n in WORKERS)], rows)


def most_workers(simulate, factor, fleet_of, share):
    """The most workers of which each still does `share` of what it could."""
    def is_worth_it(n_workers):
        fleet = fleet_of(n_workers)
        ideal = n_workers / (statistics.fmean(fleet.evaluations_s) + fleet.between_s())
        return steady(simulate, fleet, factor * n_workers) >= share * ideal

    low, high = 0, 1
    while is_worth_it(high):
        low, high = high, 2 * high
    while high - low > max(1, low // 50):
        middle = (low + high) // 2
        low, high = (middle, high) if is_worth_it(middle) else (low, middle)
    return low


def saturation(searches):
    rows = []
    for name in ("digits", "resnet20"):
        search_s = per_episode(searches[name])
        for evaluation_s in EVALUATIONS_S:
            def fleet_of(n_workers):
                return fleet_like(searches, SPREAD, n_workers, evaluation_s, search_s)

            cells = [f"{max(1, round(evaluation_s / search_s)):,}"]
            for _, simulate, factor, share in ((*MODES[1], 0.8), (*MODES[1], 0.5), (*MODES[2], 0.8)):
                n_workers = most_workers(simulate, factor, fleet_of, share)
                cells.append(f"{n_workers:,}" if n_workers else "none")
            rows.append([NETWORKS[name], f"{evaluation_s} s", *cells])
    return table(["search", "evaluation", "saturated by", "rounds of 2 W: each works 80 % of its time", "50 %",
                  "2 W in flight: 80 %"], rows)


def fewest_searches(simulate, factor, fleet, share):
    """The fewest searches at once that keep all workers busy for `share` of their time."""
    ideal = fleet.n_workers / (statistics.fmean(fleet.evaluations_s) + fleet.between_s())

    def is_enough(n_searches):
        n = math.ceil(factor * fleet.n_workers / n_searches)
        return steady(simulate, fleet, n, n_searches) >= share * ideal

    low, high = 0, 1
    while not is_enough(high):
        low, high = high, 2 * high
    while high - low > max(1, low // 20):
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def many_searches(searches):
    rows = []
    for evaluation_s in EVALUATIONS_S:
        cells = []
        for _, simulate, factor in MODES[1:]:
            for n_workers in (10, 100, 1000):
                fleet = fleet_like(searches, SPREAD, n_workers, evaluation_s)
                cells.append(f"{fewest_searches(simulate, factor, fleet, 0.8):,}")
        rows.append([f"{evaluation_s} s", *cells])
    header = ["evaluation"]
    header += [f"{mode}: {n} workers" for mode, _, _ in MODES[1:] for n in ("10", "100", "1,000")]
    return table(header, rows)


def network(searches):
    rows = []
    for evaluation_s, n_workers in ((0.1, 1), (1, 4), (10, 16), (60, 64)):
        cells = []
        for round_trip_ms in (0, 0.5, 5, 50):
            fleet = fleet_like(searches, SPREAD, n_workers, evaluation_s, None, round_trip_ms / 1000)
            cells.append(figure(steady(in_rounds, fleet, 2 * n_workers)))
        rows.append([f"{evaluation_s} s", n_workers, *cells])
    return table(["evaluation", "workers", "loopback", "+0.5 ms", "+5 ms", "+50 ms"], rows)


# Network and images, MB.
FILES_MB = [
    ("ResNet-20, 2,024 images of 32 px", 7.4), ("20 MB network, 1,000 images of 224 px", 170), ("7 GB network", 7000),
]


def first_files(_):
    rows = []
    for what, megabytes in FILES_MB:
        # Megabytes a second that are left of 1 and 10 Gbit/s.
        cells = [seconds_words(n * megabytes / rate) for rate in (117, 1170) for n in (10, 100, 1000)]
        rows.append([what, f"{megabytes:,}", *cells])
    header = ["network and images", "MB"]
    header += [f"{link}: {n} workers" for link in ("1 Gbit/s", "10 Gbit/s") for n in ("10", "100", "1,000")]
    return table(header, rows)


def quality(_):
    rows = []
    for what, rounds in json.loads(QUALITY.read_text())["kl_nats"].items():
        alone = statistics.fmean(rounds["1"])
        for n_round, found in rounds.items():
            mean = statistics.fmean(found)
            more = "" if n_round == "1" else f"{round(100 * (mean / alone - 1)):+d} %"
            spread = f"{mean:.4f} ± {statistics.stdev(found):.4f}"
            rows.append([what, n_round, spread, f"{min(found):.4f} to {max(found):.4f}", more])
    return table(["network", "round, or in flight", "KL of the best, nats", "least to most", "against rounds of 1"], rows)


TABLES = {
    "recorded": recorded, "grown": grown, "validation": validation, "throughput": throughput, "saturation": saturation,
    "searches": many_searches, "network": network, "files": first_files, "quality": quality,
}


INK, FAINT, GRID = "#1f2933", "#52606d", "#e4e7eb"
COLOURS = ["#0b6e99", "#b45309", "#7c3aed", "#15803d"]


def plot(searches):
    """Episodes a second against workers, both logarithmic, as SVG."""
    search_s = per_episode(searches[SPREAD])
    width, height, left, right, top, bottom = 720, 440, 56, 24, 56, 48
    workers = sorted({round(10 ** (step / 8)) for step in range(25)})
    low, high = 0.01, 20.0

    def x(n_workers):
        return left + math.log10(n_workers) / 3 * (width - left - right)

    def y(rate):
        return height - bottom - math.log(rate / low) / math.log(high / low) * (height - top - bottom)

    def text(at_x, at_y, words, anchor="start", colour=FAINT, size=12):
        return f'<text x="{at_x:.1f}" y="{at_y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}">{words}</text>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" role="img">',
        "<title>Episodes a second of one search against workers</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        text(left, 22, f"One search with {1000 * search_s:.0f} ms an episode of its own: episodes a second against workers",
             colour=INK, size=14),
        text(left, 42, "solid: 2 W in flight; dashed: rounds of 2 W; colours: seconds of one evaluation"),
    ]
    for rate in (0.01, 0.1, 1, 10):
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{y(rate):.1f}" y2="{y(rate):.1f}" stroke="{GRID}"/>')
        parts.append(text(left - 8, y(rate) + 4, f"{rate:g}", "end"))
    for n_workers in (1, 10, 100, 1000):
        parts.append(f'<line x1="{x(n_workers):.1f}" x2="{x(n_workers):.1f}" y1="{top}" y2="{height - bottom}" stroke="{GRID}"/>')
        parts.append(text(x(n_workers), height - bottom + 18, f"{n_workers:,}", "middle"))
    parts.append(text((left + width - right) / 2, height - 8, "workers", "middle"))
    ceiling = 1 / search_s
    parts.append(f'<line x1="{left}" x2="{width - right}" y1="{y(ceiling):.1f}" y2="{y(ceiling):.1f}" stroke="{INK}"/>')
    parts.append(text(left + 6, y(ceiling) - 6, f"what the search itself can do: {ceiling:.1f}", colour=INK))
    for evaluation_s, colour in zip(EVALUATIONS_S, COLOURS):
        for simulate, dash in ((in_flight, ""), (in_rounds, ' stroke-dasharray="6 4"')):
            rates = [steady(simulate, fleet_like(searches, SPREAD, n, evaluation_s, search_s), 2 * n) for n in workers]
            points = " ".join(f"{x(n):.1f},{y(rate):.1f}" for n, rate in zip(workers, rates))
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        # Below the beginning of the dashed line.
        parts.append(text(x(1) + 6, y(rates[0]) + 18, f"{evaluation_s} s", colour=colour))
    return "\n".join([*parts, "</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the page says something else")
    options = parser.parse_args()
    searches = json.loads(RECORDED.read_text())["searches"]
    before = PAGE.read_text()
    text = before
    for name, rows in TABLES.items():
        place = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        if not re.search(place, text, re.S):
            raise SystemExit(f"{PAGE}: no place for a table; it goes between <!-- {name} --> and <!-- end -->")
        written = rows(searches)
        text = re.sub(place, lambda found: f"{found[1]}\n{written}\n\n{found[2]}", text, flags=re.S)
    drawn = plot(searches)
    if options.check:
        if (text, drawn) != (before, PLOT.read_text()):
            raise SystemExit(f"{PAGE} or {PLOT} does not say what the recordings say; scripts/plan_page.py writes them")
        return
    PAGE.write_text(text)
    PLOT.write_text(drawn)


if __name__ == "__main__":
    main()
