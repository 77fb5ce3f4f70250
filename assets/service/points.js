// The episodes of a search as points of quality and cost, and the front over them.

/** Whether `a` gives up nothing against `b`. */
const covers = (a, b) => a.cost <= b.cost && a.quality >= b.quality;

/** Adds a point to a front, cheapest first, unless another covers it. */
export function joinFront(front, point) {
  if (front.some((member) => covers(member, point))) return false;
  const kept = front.filter((member) => !covers(point, member));
  const place = kept.findIndex((member) => member.cost > point.cost);
  kept.splice(place < 0 ? kept.length : place, 0, point);
  front.splice(0, front.length, ...kept);
  return true;
}

export class Points {
  #byEpisode = new Map();

  /** From what /points answers: columns, counts, and the limit on `cost`. */
  constructor({ cost, total, limit, points: columns }) {
    this.kind = cost;
    this.total = total;
    this.limit = limit;
    this.all = [];
    this.front = [];
    columns.episode.forEach((episode, index) => {
      const point = {
        episode,
        cost: columns.cost[index],
        quality: columns.quality[index],
        kind: columns.kind[index],
        feasible: columns.feasible[index],
        uniform: columns.uniform[index],
      };
      if (!this.#keep(point)) return;
      if (columns.front[index]) this.front.push(point);
    });
    this.all.sort((a, b) => a.episode - b.episode);
    this.front.sort((a, b) => a.cost - b.cost);
  }

  get(episode) {
    return this.#byEpisode.get(episode);
  }

  /** A new episode; false where it is known already, as after a reconnection. */
  add(point) {
    if (!this.#keep(point)) return false;
    this.total += 1;
    if (point.feasible) joinFront(this.front, point);
    return true;
  }

  /** Episodes at which the best within the budgets rose, with the last episode at the end. */
  bestSoFar() {
    const steps = [];
    let best = -Infinity;
    for (const { episode, quality, feasible } of this.all) {
      if (!feasible || quality <= best) continue;
      best = quality;
      steps.push([episode, quality]);
    }
    if (steps.length > 0) steps.push([this.all.at(-1).episode, best]);
    return steps;
  }

  #keep(point) {
    // An episode that lost a race early has no quality of its own.
    if (point.quality === null || this.#byEpisode.has(point.episode)) return false;
    this.#byEpisode.set(point.episode, point);
    this.all.push(point);
    return true;
  }
}
