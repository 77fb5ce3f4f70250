// Figures as a person reads them, in the same units the command line prints.

const SECONDS = [
  [1, 's'],
  [1e-3, 'ms'],
  [1e-6, 'µs'],
  [1e-9, 'ns'],
];
const JOULES = [
  [1, 'J'],
  [1e-3, 'mJ'],
  [1e-6, 'µJ'],
  [1e-9, 'nJ'],
  [1e-12, 'pJ'],
];
const BYTES = [
  [1e9, 'GB'],
  [1e6, 'MB'],
  [1e3, 'kB'],
  [1, 'B'],
];

/** Each cost: its key in a cost object, its name, its units from large to small. */
export const COSTS = {
  latency: { key: 'latency_s', name: 'latency', units: SECONDS },
  energy: { key: 'energy_j', name: 'energy', units: JOULES },
  size: { key: 'size_bytes', name: 'weight size', units: BYTES },
  memory: { key: 'peak_memory_bytes', name: 'peak memory', units: BYTES },
};

const MEASURES = {
  top1: { name: 'top-1 accuracy', percent: true },
  top5: { name: 'top-5 accuracy', percent: true },
  agreement: { name: 'agreement with float', percent: true },
  kl: { name: 'KL divergence from float', percent: false },
  mse: { name: 'squared error against float', percent: false },
};

export const costOf = (cost, kind) => cost[COSTS[kind].key];

/** The unit for an axis that reaches `largest`. */
export function unitOf(kind, largest) {
  const { units } = COSTS[kind];
  const [factor, name] = units.find(([step]) => Math.abs(largest) >= step) ?? units.at(-1);
  return { factor, name };
}

export function showCost(kind, value) {
  const { factor, name } = unitOf(kind, value);
  const scaled = value / factor;
  const digits = name === 'B' ? 0 : Math.abs(scaled) >= 100 ? 1 : 3;
  return `${scaled.toFixed(digits)} ${name}`;
}

export const measureName = (measure) => MEASURES[measure].name;

/** From a quality to what its axis counts in: percent, or the value itself. */
export const qualityScale = (measure) => (MEASURES[measure].percent ? 100 : 1);

/** The highest a quality can be, on its axis. */
export const qualityCeiling = (measure) => (MEASURES[measure].percent ? 100 : 0);

/** More is better on every axis. */
export const qualityAxis = (measure) =>
  MEASURES[measure].percent ? `${MEASURES[measure].name} (%)` : `minus ${MEASURES[measure].name}`;

const withMinus = (text) => text.replace(/^-/, '−');

export function showQuality(measure, value) {
  if (MEASURES[measure].percent) return `${(value * 100).toFixed(2)} %`;
  // Quality is minus the distance, so that more is better; a person reads the distance.
  const distance = value === 0 ? 0 : -value;
  return distance !== 0 && Math.abs(distance) < 0.001 ? distance.toExponential(1) : distance.toFixed(4);
}

/** A difference of two qualities, with its sign. */
export function showLoss(measure, difference) {
  if (MEASURES[measure].percent)
    return withMinus(`${difference > 0 ? '+' : ''}${(difference * 100).toFixed(2)} points`);
  return withMinus(`${difference < 0 ? '+' : ''}${showQuality(measure, difference)}`);
}

export const showRatio = (ratio) => `${ratio.toFixed(ratio < 0.1 ? 3 : 2)} of 8/8`;

export const showShare = (share) => `${(share * 100).toFixed(1)} %`;

export const showCount = (count) => count.toLocaleString('en-US');

/** 12,300,000 → 12.3 M */
export function showLarge(count) {
  const [factor, letter] = [
    [1e9, ' G'],
    [1e6, ' M'],
    [1e3, ' k'],
  ].find(([step]) => count >= step) ?? [1, ''];
  return `${(count / factor).toFixed(factor === 1 ? 0 : 1)}${letter}`;
}

export const showKl = (kl) => (kl !== 0 && Math.abs(kl) < 1e-4 ? kl.toExponential(1) : kl.toFixed(4));
