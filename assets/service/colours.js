// Chart colours, read from the style sheet so that light and dark are written once.

const NAMES = [
  'paper',
  'ink',
  'muted',
  'axis',
  'grid',
  'blue',
  'vermilion',
  'green',
  'purple',
  'orange',
  'sky',
  'olive',
];

/** The palette in force now, by name. */
export function colours() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

/** Colours of searches laid over each other, in order. */
export const SERIES = ['blue', 'vermilion', 'green', 'orange', 'sky', 'olive'];

export function onThemeChange(action) {
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', action);
}
