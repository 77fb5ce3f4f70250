#!/usr/bin/env python3
"""The comparison of search strategies in BENCHMARKS.md, in the background and resumable.

    scripts/compare.py --keep FOLDER                run what is missing, print the tables
    scripts/compare.py --keep FOLDER --only NAME    the cases whose name begins so; several with commas
    scripts/compare.py --keep FOLDER --tables       print what there is and what is left out, run nothing

Sensitivities and finished runs are shared through FOLDER/compare.db: what was interrupted goes on where it stopped, and a seed of a case that is
complete is not run again. With `--jobs N` so many seeds run at once. Needs a release build (`cargo build --release`), or `--haq PROGRAM`, and the data folder: `--data` or ../shared/data.
"""

import argparse
import json
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmark import ROOT, area, run_json, spread

ALL = ["uniform", "ilp", "greedy", "random", "evolution", "ddpg"]

# Another seed gives these nothing new.
DO_NOT_DRAW = {"uniform", "ilp", "greedy"}

NETWORKS = {
    "resnet20": (["resnet20_cifar10.onnx", "cifar10"], ["--search-images", "2000"]),
    "efficientnet": (["efficientnet_lite0_imagenet.onnx", "imagenet_sample"], ["--search-images", "200", "--calibration", "100"]),
}

# Of edge-tpu: 32-bit biases, and all weights at one bit; the sizes below are those of so many bits a weight.
FIXED_BYTES, BIT_BYTES = 5_584, 33_542


@dataclass
class Case:
    name: str
    network: str
    device: str
    budgets: list
    strategies: list
    episodes: int
    seeds: int
    more: tuple = ()

    def arguments(self, options, seed):
        (model, images), counts = NETWORKS[self.network]
        limits = [part for budget in self.budgets for part in ("--budget", budget)]
        strategies = [strategy for strategy in self.strategies if seed == 0 or strategy not in DO_NOT_DRAW]
        return [
            "search", "--model", options.data / "models" / model, "--data", options.data / images, "--hw", self.device, *limits,
            *self.more, *counts, "--strategy", ",".join(strategies), "--seed", seed, "--split-seed", 0, "--episodes", self.episodes,
            "--device", options.device,
        ]


def size_case(bits, seeds):
    budget = f"size={int(FIXED_BYTES + BIT_BYTES * bits)}B"
    return Case(f"size-{bits}", "resnet20", "edge-tpu", [budget], ALL, 40, seeds, ("--pin", "none"))


def cases():
    """In the order in which they are worth having."""
    edge = lambda ratio, seeds: Case(f"latency-{ratio}", "resnet20", "bismo-edge", [f"latency={ratio}"], ALL, 60, seeds)
    cloud = lambda ratio: Case(f"cloud-{ratio}", "resnet20", "bismo-cloud", [f"latency={ratio}"], ALL, 40, 3)
    depthwise = lambda ratio, seeds: Case(
        f"depthwise-{ratio}", "efficientnet", "bismo-edge", [f"latency={ratio}"], ["uniform", "ilp", "greedy", "random", "ddpg"], 40, seeds)
    paper = lambda ratio: Case(f"haq-{ratio}", "resnet20", "bismo-edge", [f"latency={ratio}"], ["haq"], 600, 3)
    front = [
        Case(f"front-{ratio}", "resnet20", "bismo-edge", [f"latency={ratio}"], ["ddpg"], 10, 1)
        for ratio in ("0.25", "0.3", "0.35", "0.4", "0.45", "0.5", "0.6", "0.7", "0.8", "0.9")
    ]
    return [
        edge("0.3", 5), size_case(2.5, 5), size_case(3, 3), size_case(4, 3), edge("0.45", 3), paper("0.3"), size_case(2.25, 3),
        Case("both", "resnet20", "bismo-edge", ["latency=0.45", "size=0.4"], ALL, 40, 3),
        Case("energy-0.75", "resnet20", "bitfusion", ["energy=0.75"], ALL, 40, 3),
        cloud("0.3"), edge("0.6", 3), cloud("0.45"), cloud("0.6"),
        Case("front-range", "resnet20", "bismo-edge", [], ["ddpg"], 100, 1), *front,
        depthwise("0.45", 5), paper("0.45"), depthwise("0.6", 5),
    ]


def haq(options, *arguments):
    return run_json(options.haq, *arguments, "--db", options.keep / "compare.db", folder=options.keep)


def kept(case, seed, options):
    return options.keep / f"{case.name}-seed{seed}.json"


def run(case, seed, options):
    print(f"{case.name}, seed {seed} …", file=sys.stderr, flush=True)
    arguments = case.arguments(options, seed)
    if options.threads:
        arguments += ["--threads", options.threads]
    found = haq(options, *arguments)
    # One run alone is no contest: it is told by itself.
    numbers = found["runs"] if "runs" in found else [found["run"]]
    kept(case, seed, options).write_text(json.dumps([shown(options, number) for number in numbers]))


def read(case, options):
    """What there is of a case; its seeds one after the other."""
    files = [kept(case, seed, options) for seed in range(case.seeds)]
    return [run for file in files if file.exists() for run in json.loads(file.read_text())]


def shown(options, number):
    """What the tables say of a run."""
    run = haq(options, "runs", "show", number)
    about, result = run["description"], run["result"]
    best = next(e for e in run["episodes"] if e["index"] == result["best_episode"])
    proposed = [e for e in run["episodes"] if e["kind"] != "reference"]
    meets = lambda e: all(e["cost"][COSTS[b["kind"]]] <= b["limit"] for b in about["budgets"])
    # What was stopped in a race is no answer.
    counts = lambda e: meets(e) and e["stopped_after_images"] is None
    objective = COSTS[about["objective"]]
    return {
        "strategy": about["strategy"], "seed": about["seed"], "evaluations": len(proposed),
        "kl_search": best["quality"]["kl"], "top1_search": best["quality"]["top1"],
        "kl_test": result["best_test"]["kl"], "top1_test": result["best_test"]["top1"], "float": result["float_test"]["top1"],
        "wall_s": result["wall_s"],
        # Least KL after so many evaluations, of policies within the budgets.
        "kl_so_far": running_least([e["quality"]["kl"] if counts(e) else None for e in proposed]),
        "points": [(e["cost"][objective] / about["eight_bit_cost"][objective], e["quality"]["top1"]) for e in proposed if counts(e)],
    }


COSTS = {"latency": "latency_s", "energy": "energy_j", "size": "size_bytes", "memory": "peak_memory_bytes"}


def running_least(values):
    least, out = None, []
    for value in values:
        if value is not None and (least is None or value < least):
            least = value
        out.append(least)
    return out


def print_case(case, runs, all_runs):
    print(f"\n{case.name}: {case.network}, {case.device}, {' '.join(case.budgets) or 'a range'}, float {100 * runs[0]['float']:.2f}\n")
    print("| strategy | seeds | evaluations | KL, search | KL, test | top-1, search | top-1, test | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for strategy in dict.fromkeys(run["strategy"] for run in runs):
        own = [run for run in runs if run["strategy"] == strategy]
        column = lambda key: [run[key] for run in own]
        print("| " + " | ".join([
            f"`{strategy}`", str(len(own)), f"{statistics.mean(column('evaluations')):.0f}", spread(column("kl_search"), 4, 1),
            spread(column("kl_test"), 4, 1), spread(column("top1_search")), spread(column("top1_test")),
            f"{statistics.median(column('wall_s')):.0f}",
        ]) + " |")
    rival = all_runs.get(f"haq-{case.name.partition('-')[2]}") if case.name.startswith("latency-") else None
    if rival:
        goal = statistics.mean(run["kl_so_far"][-1] for run in rival)
        needed = [first_below(run["kl_so_far"], goal) for run in runs if run["strategy"] == "ddpg"]
        print(f"\nThe mean KL that `haq` has in the end ({goal:.4f}) `ddpg` has after {needed} evaluations.")


def first_below(values, goal):
    return next((i + 1 for i, value in enumerate(values) if value is not None and value <= goal), None)


def print_fronts(all_runs):
    single = [runs for name, runs in all_runs.items() if name.startswith("front-0")]
    whole = all_runs.get("front-range")
    if len(single) < 10 or not whole:
        return
    together = [point for runs in single for run in runs for point in run["points"]]
    print(f"\nFront: one run over the range {area(whole[0]['points']):.4f} of hypervolume ({len(whole[0]['points'])} policies), "
          f"ten runs under one budget each {area(together):.4f} ({len(together)} policies).")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, required=True, help="folder for the database and the results")
    parser.add_argument("--data", type=Path, default=ROOT / ".." / "shared" / "data")
    parser.add_argument("--haq", type=Path, default=ROOT / "target" / "release" / "haq", help="the program to run")
    parser.add_argument("--only", default="", help="how the names of the wanted cases begin, with commas between")
    parser.add_argument("--threads", type=int, help="threads of each search")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--jobs", type=int, default=1, help="searches at once")
    parser.add_argument("--tables", action="store_true", help="run nothing")
    options = parser.parse_args()
    for name in ("keep", "data", "haq"):
        setattr(options, name, getattr(options, name).resolve())
    options.keep.mkdir(parents=True, exist_ok=True)
    wanted = [case for case in cases() if case.name.startswith(tuple(options.only.split(",")))]
    pieces = [(case, seed) for case in wanted for seed in range(case.seeds)]
    missing = [piece for piece in pieces if not kept(*piece, options).exists()]
    if not options.tables:
        with ThreadPoolExecutor(options.jobs) as pool:
            for done in [pool.submit(run, *piece, options) for piece in missing]:
                done.result()
    found = {case.name: read(case, options) for case in cases()}
    all_runs = {name: runs for name, runs in found.items() if runs}
    for case in wanted:
        if case.name in all_runs and not case.name.startswith("front-0"):
            print_case(case, all_runs[case.name], all_runs)
    print_fronts(all_runs)
    left_out = [f"{case.name} seed {seed}" for case, seed in pieces if not kept(case, seed, options).exists()]
    print(f"\nLeft out: {', '.join(left_out) or 'nothing'}.")


if __name__ == "__main__":
    main()
