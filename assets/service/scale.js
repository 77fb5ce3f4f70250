// Ranges and ticks of chart axes.

/** The round step the chart library takes for about this much, so that ends fall on ticks. */
function roundStep(step) {
  const power = 10 ** Math.floor(Math.log10(step));
  const digit = step / power;
  return power * (digit < 1.5 ? 1 : digit < 2.5 ? 2 : digit < 4 ? 3 : digit < 7 ? 5 : 10);
}

const PARTS = 5;

// Values closer together than this share of themselves are one value.
const LEAST_SPREAD = 1e-6;

/** Round ends around what is to be seen, with some air; neither `floor` nor `ceiling` is passed. */
export function roundRange(low, high, floor = -Infinity, ceiling = Infinity) {
  const isOne = high - low <= Math.abs(high) * LEAST_SPREAD;
  const air = (isOne ? Math.abs(high) || 1 : high - low) * 0.05;
  let step = roundStep((high - low + 2 * air) / PARTS);
  let [min, max] = [low, high];
  // Rounding widens the range, which may make the step wider.
  for (let tries = 0; tries < 3; tries += 1) {
    const snap = (value, round) =>
      Number((round(Number((value / step).toPrecision(12))) * step).toPrecision(12));
    [min, max] = [snap(low - air, Math.floor), snap(high + air, Math.ceil)];
    step = roundStep((max - min) / PARTS);
  }
  return { min: Math.max(floor, min), max: Math.min(ceiling, max) };
}

/** Ends of a logarithmic axis; both values above 0. */
export const logRange = (low, high) => ({
  min: Number((low / 1.08).toPrecision(3)),
  max: Number((high * 1.08).toPrecision(3)),
});

/** Ticks of a logarithmic axis: round numbers, as many as a short range needs. */
export function logTicks(low, high) {
  const digits =
    high / low > 30
      ? [1, 2, 5]
      : high / low > 5
        ? [1, 1.5, 2, 3, 4, 5, 7]
        : [1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9];
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    for (const digit of digits) ticks.push(Number((digit * 10 ** power).toPrecision(3)));
  }
  return ticks.filter((tick) => tick >= low && tick <= high);
}

/**
 * The lowest quality worth showing: twice the usual loss of what matters.
 *
 * - `best`: highest quality drawn
 * - `values`: qualities of the points that matter
 */
export function lowestShown(best, values) {
  if (values.length === 0) return -Infinity;
  const losses = values.map((value) => Math.max(0, best - value)).sort((a, b) => a - b);
  const middle = losses[Math.floor((losses.length - 1) * 0.5)];
  // Where most lose nothing, the smallest loss there is.
  const usual = middle > 0 ? middle : (losses.find((loss) => loss > 0) ?? 0);
  return Math.max(best - losses.at(-1), best - 2 * usual) - 1e-9;
}
