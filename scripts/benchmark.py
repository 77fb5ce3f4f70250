#!/usr/bin/env python3
"""Runs the comparisons of BENCHMARKS.md and prints them as tables.

    scripts/benchmark.py ptq                  post-training accuracy of ResNet-20 (10,000 test images)
    scripts/benchmark.py demo --seeds 5       the demo's search, DDPG against random
    scripts/benchmark.py paper --seeds 5      the paper's search, in both modes, against baselines: docs/haq.md
    scripts/benchmark.py searches             ResNet-20 and EfficientNet-Lite0 under budgets, against uniform policies

Needs a release build (`cargo build --release`), or `--haq PROGRAM`, and, but for `demo` and `paper`, the data folder: `--data` or ../shared/data.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
program = ROOT / "target" / "release" / "haq"


def run_json(program, *arguments, folder):
    command = [str(program), *map(str, arguments), "--json", "--quiet"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout)


def haq(*arguments, folder):
    return run_json(program, *arguments, folder=folder)


def table(header, rows):
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |", flush=True)
    print()


def percent(value):
    return f"{100 * value:.2f}"


def spread(values, digits=2, factor=100):
    values = [factor * value for value in values]
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def ptq(options):
    """W8A8 to W2A8 and W4A4, W3A3, with each method."""
    data = options.data
    model = ["--model", data / "models/resnet20_cifar10.onnx", "--data", data / "cifar10"]
    rows = []
    for method in options.methods.split(","):
        row = [method]
        for bits in ["8,8", "4,8", "3,8", "2,8", "4,4", "3,3"]:
            found = [
                haq("evaluate", *model, "--bits", bits, "--pin", "first=8,last=8", "--method", method, "--seed", seed,
                    folder=options.folder)["quality"]["top1"]
                for seed in range(options.seeds)
            ]
            row.append(spread(found))
        rows.append(row)
    table(["method", "W8A8", "W4A8", "W3A8", "W2A8", "W4A4", "W3A3"], rows)


def demo(options):
    """The embedded network: DDPG and random with as many episodes, several seeds."""
    rows = []
    for profile, budget in [("edge-tpu", None), ("edge-tpu", "size=0.45"), ("bismo-edge", "latency=0.4")]:
        for strategy in ["ddpg", "random", "uniform"]:
            arguments = ["search", "--hw", profile, "--strategy", strategy, "--episodes", options.episodes]
            if budget:
                arguments += ["--budget", budget]
            runs = [haq(*arguments, "--seed", seed, folder=options.folder) for seed in range(options.seeds)]
            rows.append([
                profile,
                budget or "range",
                strategy,
                spread(run["best"]["quality_search"] for run in runs),
                spread(run["best"]["quality_test"] for run in runs),
                f"{statistics.mean(hypervolume(run) for run in runs):.4f}",
                f"{statistics.mean(run['evaluations'] for run in runs):.0f}",
                f"{statistics.median(run['wall_s'] for run in runs):.1f}",
            ])
    table(["device", "budget", "strategy", "search %", "test %", "front's hypervolume", "evaluations", "median s"], rows)


def hypervolume(run):
    """Area under the front, cost relative to the dearest point of 8/8, quality from 0 to 1."""
    key = {"latency": "latency_s", "energy": "energy_j", "size": "size_bytes", "memory": "peak_memory_bytes"}[run["objective"]]
    reference = run["eight_bit"][key]
    return area((point[key] / reference, point["quality_search"]) for point in run["front"])


def area(points):
    """Under the best quality at most as dear, from cost 0 to 1."""
    points = sorted(points)
    total, best = 0.0, 0.0
    ends = [cost for cost, _ in points[1:]] + [1.0]
    for (cost, quality), end in zip(points, ends):
        best = max(best, quality)
        total += max(0.0, min(end, 1.0) - cost) * best
    return total


PAPER = [
    (["--hw", "bismo-edge", "--budget", "latency=0.6"], "latency_s"),
    (["--hw", "bismo-edge", "--budget", "latency=0.4"], "latency_s"),
    (["--hw", "bismo-edge", "--budget", "size=0.22", "--pin", "none", "--method", "codebook"], "size_bytes"),
]


def paper(options):
    """The embedded network: `haq` with 600 episodes, random with as many, and what ilp and greedy work out."""
    rows = []
    for arguments, cost in PAPER:
        for strategy, more in [("haq", []), ("random", ["--episodes", 600]), ("ilp", []), ("greedy", [])]:
            common = ["search", *arguments, "--strategy", strategy, *more]
            runs = [haq(*common, "--seed", seed, folder=options.folder) for seed in range(options.seeds)]
            rows.append([
                arguments[3],
                strategy,
                spread(run["best"]["quality_search"] for run in runs),
                spread(run["best"]["quality_test"] for run in runs),
                f"{statistics.mean(run['best'][cost] / run['eight_bit'][cost] for run in runs):.3f}",
                f"{statistics.mean(run['evaluations'] for run in runs):.0f}",
                f"{statistics.median(run['wall_s'] for run in runs):.1f}",
            ])
            print(rows[-1], file=sys.stderr, flush=True)
    table(["budget", "strategy", "search %", "test %", "of 8/8", "evaluations", "median s"], rows)


SEARCHES = [
    ("resnet20_cifar10", "cifar10", "bismo-edge", ["latency=0.6"], 200),
    ("resnet20_cifar10", "cifar10", "edge-tpu", ["size=0.5"], 200),
    ("resnet20_cifar10", "cifar10", "bitfusion", ["energy=0.7"], 200),
    ("resnet20_cifar10", "cifar10", "bismo-cloud", ["latency=0.5", "size=0.5"], 200),
    ("efficientnet_lite0_imagenet", "imagenet_sample", "bismo-edge", ["latency=0.6"], 40),
]


def searches(options):
    """Each search beside the best uniform policy that meets the same budgets."""
    data = options.data
    rows = []
    for model, images, profile, budgets, episodes in SEARCHES:
        if options.only and options.only not in (model, profile):
            continue
        limits = [part for budget in budgets for part in ("--budget", budget)]
        common = ["--model", data / f"models/{model}.onnx", "--data", data / images, "--hw", profile]
        for seed in range(options.seeds):
            run = haq("search", *common, *limits, "--episodes", episodes, "--seed", seed, folder=options.folder)
            uniform = haq("search", *common, *limits, "--strategy", "uniform", "--seed", seed, folder=options.folder)
            rows.append([
                model, profile, " ".join(budgets), seed,
                percent(run["float"]["quality_test"]), percent(run["best"]["quality_test"]),
                percent(uniform["best"]["quality_test"]), run["evaluations"], f"{run['wall_s']:.0f}",
            ])
            print(rows[-1], flush=True)
    table(["network", "device", "budget", "seed", "float", "search", "best uniform", "evaluations", "s"], rows)


def main():
    global program
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["ptq", "demo", "paper", "searches"])
    parser.add_argument("--data", type=Path, default=ROOT / ".." / "shared" / "data")
    parser.add_argument("--haq", type=Path, default=program, help="the program to run")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--methods", default="gptq")
    parser.add_argument("--only", help="a network or a device")
    options = parser.parse_args()
    options.data, program = options.data.resolve(), options.haq.resolve()
    with tempfile.TemporaryDirectory() as folder:
        options.folder = folder
        {"ptq": ptq, "demo": demo, "paper": paper, "searches": searches}[options.what](options)


if __name__ == "__main__":
    main()
