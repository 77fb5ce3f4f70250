#!/usr/bin/env python3
"""Plans a fleet: episodes a second against workers, from timings that scripts/record_fleet.py kept.

    scripts/plan_fleet.py --like resnet20 --evaluation-s 12 --workers 40      # a fleet of yours
    scripts/plan_fleet.py --workers 1000 --searches 20 --evaluation-s 12      # shared by 20 searches

A discrete-event simulation. A search is a single process: what it does for one episode (learn and
commit, propose and publish) takes `--search-s`, one after the other. Workers take tasks in order of
publication; each needs an evaluation time drawn from a recording, and some round trips. What the
queue's server can do is left out: docs/planning.md says when it matters.

- in rounds: N proposals are published at once and learned from in their order; the next N are proposed
  when the last of them was learned from
- in flight: each answer is learned from when it arrives, and one proposal takes its place
"""

import argparse
import heapq
import json
import math
import random
import statistics
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORDED = ROOT / "docs/planning/timings.json"
# Whose evaluation times, relative to their mean, stand for all.
SPREAD = "resnet20"
# The same search in longer rounds.
LONGER_ROUNDS = "resnet20-8"
# How a search's own time grows with its episodes.
GROWTH = "digits-1000"

# Of a worker between two evaluations: answer, its acknowledgement, two reports, and the next task.
WORKER_ROUND_TRIPS = 5
# Of the search between two rounds: the answers, their acknowledgement, files, two for each of 64 tasks.
SEARCH_ROUND_TRIPS = 4


@dataclass(frozen=True)
class Fleet:
    n_workers: int
    # How long evaluations took; drawn from.
    evaluations_s: list[float]
    # Of the search, for one of its first episodes: to learn from it, and to propose it.
    learn_s: float
    propose_s: float
    # Of a worker beside an evaluation, on loopback.
    beside_s: float
    # On top of loopback's.
    round_trip_s: float = 0.0
    # How both grow, times the square of the episodes before.
    growth: float = 0.0

    def grown(self, n_before):
        """How much longer the search takes for an episode after so many others."""
        return 1 + self.growth * n_before**2

    def between_s(self):
        """Of a worker, from one evaluation to the next."""
        return self.beside_s + WORKER_ROUND_TRIPS * self.round_trip_s

    def answer_s(self):
        """From the end of an evaluation until the search knows."""
        return self.beside_s + self.round_trip_s

    def episode_s(self, n_before):
        """Of the search, for an episode after so many others."""
        return (self.learn_s + self.propose_s) * self.grown(n_before)


def in_rounds(fleet, n_round, n_episodes, seed=0, n_searches=1):
    """Episodes a second of searches in rounds that share the workers, without each one's first round.

    - `n_episodes`: of each
    """
    draw = random.Random(seed)
    free = [0.0] * fleet.n_workers
    calls_s = fleet.round_trip_s * (SEARCH_ROUND_TRIPS + 2 * math.ceil(n_round / 64))
    proposed_s = n_round * fleet.propose_s + calls_s
    # When each search publishes its next round, and the episodes it has behind it.
    rounds = [(proposed_s * (1 + index / n_searches), index, 0) for index in range(n_searches)]
    ends = []
    while rounds:
        now, search, n_done = heapq.heappop(rounds)
        learned, grown = now, fleet.grown(n_done)
        for _ in range(n_round):
            end = max(heapq.heappop(free), now) + draw.choice(fleet.evaluations_s)
            learned = max(learned, end + fleet.answer_s()) + fleet.learn_s * grown
            heapq.heappush(free, end + fleet.between_s())
        ends.append(learned)
        n_done += n_round
        if n_done < n_episodes or n_done == n_round:
            after = learned + n_round * fleet.propose_s * fleet.grown(n_done) + calls_s
            heapq.heappush(rounds, (after, search, n_done))
    ends.sort()
    return n_round * (len(ends) - n_searches) / (ends[-1] - ends[n_searches - 1])


def in_flight(fleet, n_flight, n_episodes, seed=0, n_searches=1):
    """The same of searches that learn from each answer as it arrives, with `n_flight` tasks out each."""
    draw = random.Random(seed)
    free = [0.0] * fleet.n_workers
    calls_s = fleet.round_trip_s * (SEARCH_ROUND_TRIPS + 2)
    search_free, n_published = [0.0] * n_searches, [0] * n_searches
    n_warm = 2 * n_flight
    # What happens when: an answer arrives (0), or a task is published (1). Before the first task a
    # search has as many answers to take in as it may have tasks out.
    events = [(0.0, 0, search) for search in range(n_searches) for _ in range(n_flight)]
    heapq.heapify(events)
    published = []
    while events and len(published) < (n_episodes + n_warm) * n_searches:
        now, is_published, search = heapq.heappop(events)
        if is_published:
            published.append(now)
            end = max(heapq.heappop(free), now) + draw.choice(fleet.evaluations_s)
            heapq.heappush(free, end + fleet.between_s())
            heapq.heappush(events, (end + fleet.answer_s(), 0, search))
        else:
            own_s = fleet.episode_s(max(0, n_published[search] - n_warm)) + calls_s
            search_free[search] = max(search_free[search], now) + own_s
            n_published[search] += 1
            heapq.heappush(events, (search_free[search], 1, search))
    first = n_warm * n_searches
    return (len(published) - first) / (published[-1] - published[first - 1])


def per_episode(recording):
    """Seconds of the search for one episode, recorded in rounds of one."""
    return statistics.fmean(recording["turns_s"])


def propose_share(searches):
    """What of a search's own time is for proposing: a longer round adds that alone between its last answer and
    the next one's first task."""
    one, more = searches[SPREAD], searches[LONGER_ROUNDS]
    added_s = statistics.fmean(more["turns_s"]) - per_episode(one)
    return min(1.0, max(0.0, added_s / (more["round"] - 1) / per_episode(one)))


def fleet_like(searches, name, n_workers, evaluation_s=None, search_s=None, round_trip_s=0.0):
    """A fleet with a recording's spread of evaluation times, scaled to another mean."""
    recording = searches[name]
    times = recording["evaluations_s"]
    scale = evaluation_s / statistics.fmean(times) if evaluation_s else 1.0
    beside = recording.get("task_beside_s") or [0.0]
    own_s, share = search_s or per_episode(recording), propose_share(searches)
    return Fleet(
        n_workers=n_workers,
        evaluations_s=[scale * one for one in times],
        learn_s=own_s * (1 - share),
        propose_s=own_s * share,
        beside_s=statistics.median(beside),
        round_trip_s=round_trip_s,
    )


# What is proposed at once, by all searches together: so many times the workers W.
MODES = [("rounds of W", in_rounds, 1), ("rounds of 2 W", in_rounds, 2), ("2 W in flight", in_flight, 2)]


def steady(simulate, fleet, n, n_searches=1):
    """So many rounds that their draws average out, of searches that grow no slower."""
    n_episodes = max(10 * n, 2000 // n_searches)
    return simulate(replace(fleet, growth=0.0), n, n_episodes, n_searches=n_searches)


def growth(searches):
    """By how much of its first episodes' time a search's own grows, times the square of the episodes before."""
    turns = searches[GROWTH]["turns_s"]
    slope, start = statistics.linear_regression([n**2 for n in range(len(turns))], turns)
    return max(0.0, slope / start)


def figure(value):
    """Three digits; thousands as they are."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def seconds_words(value):
    return f"{value:.0f} s" if value < 120 else f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def tell_plan(options, searches):
    fleet = fleet_like(
        searches, options.like, options.workers, options.evaluation_s, options.search_s, options.round_trip_ms / 1000
    )
    fleet = replace(fleet, growth=growth(searches))
    mean = statistics.fmean(fleet.evaluations_s)
    own_s = statistics.fmean(fleet.episode_s(n) for n in range(options.episodes))
    print(
        f"{options.workers} workers, {options.searches} at once of searches of {options.episodes} episodes, "
        f"{figure(mean)} s an evaluation, {figure(1000 * own_s)} ms an episode in the search itself"
    )
    print(f"one search does at most {figure(1 / own_s)} episodes/s; {max(1, round(mean / own_s)):,} workers reach that")
    ideal = options.workers / (mean + fleet.between_s())
    for mode, simulate, factor in MODES:
        n = math.ceil(factor * options.workers / options.searches)
        if n > options.episodes:
            print(f"{mode + ':':32} none: {n} proposals are more than a search has episodes")
            continue
        rate = simulate(fleet, n, options.episodes, n_searches=options.searches)
        took = seconds_words(options.searches * options.episodes / rate)
        print(f"{mode + f', N = {n}:':32} {figure(rate):>6} episodes/s, {100 * rate / ideal:3.0f} % of ideal; all done in {took}")
    if options.megabytes:
        share = options.workers * options.megabytes / (options.link_mbit_s / 8)
        print(f"network and images are with the last worker after {seconds_words(share)}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recorded", type=Path, default=RECORDED, help="file of record_fleet.py")
    parser.add_argument("--like", default=SPREAD, help="recording whose times, and their spread, are taken")
    parser.add_argument("--workers", type=int, default=16, help="W")
    parser.add_argument("--searches", type=int, default=1, help="at once, that share the workers")
    parser.add_argument("--episodes", type=int, default=200, help="of each search")
    parser.add_argument("--evaluation-s", type=float, help="mean evaluation; as recorded where absent")
    parser.add_argument("--search-s", type=float, help="of the search for one episode; as recorded where absent")
    parser.add_argument("--round-trip-ms", type=float, default=0.0, help="to the server, on top of loopback's")
    parser.add_argument("--megabytes", type=float, help="network and images, as a worker says in its last word")
    parser.add_argument("--link-mbit-s", type=float, default=1000.0, help="of the server")
    options = parser.parse_args()
    if min(options.workers, options.searches, options.episodes) < 1:
        parser.error("--workers, --searches and --episodes need to be at least 1")
    return options


def main():
    options = arguments()
    searches = json.loads(options.recorded.read_text())["searches"]
    if options.like not in searches:
        raise SystemExit(f"{options.recorded}: there is no recording {options.like}; there are {', '.join(searches)}")
    tell_plan(options, searches)


if __name__ == "__main__":
    main()
