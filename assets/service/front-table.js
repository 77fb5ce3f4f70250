// The front as a table whose rows pick: the chart without a mouse or eyes.

import { el } from './dom.js';
import { COSTS, measureName, showCost, showLoss, showQuality, showRatio } from './format.js';

function row(point, { cost, measure, float_quality: float, eight_bit: eightBit, best, picked }) {
  const isBest = point.episode === best?.episode;
  const button = el(
    'button',
    { type: 'button', 'aria-pressed': String(point.episode === picked), 'data-episode': point.episode },
    `Episode ${point.episode}`,
  );
  return el(
    'tr',
    { class: point.episode === picked ? 'chosen' : null },
    el(
      'th',
      { scope: 'row', class: 'left' },
      button,
      isBest ? ' best' : null,
      point.uniform ? ` uniform ${point.uniform}` : null,
    ),
    el('td', {}, showQuality(measure, point.quality)),
    el('td', {}, float === null ? '–' : showLoss(measure, point.quality - float)),
    el('td', {}, showCost(cost, point.cost)),
    el('td', {}, eightBit === null ? '–' : showRatio(point.cost / eightBit)),
  );
}

/** Fills `host`; the row that had the focus keeps it. */
export function showFront(host, points, view) {
  const shown = [
    view.cost,
    view.picked,
    view.best?.episode,
    ...points.front.map((point) => point.episode),
  ].join(' ');
  if (host.dataset.shown === shown) return;
  host.dataset.shown = shown;
  const focused = host.contains(document.activeElement) ? document.activeElement.dataset.episode : null;
  host.replaceChildren(
    el(
      'table',
      { class: 'narrow' },
      el(
        'caption',
        { class: 'visually-hidden' },
        'Policies on the front, cheapest first; a button shows the bits of its policy',
      ),
      el(
        'thead',
        {},
        el(
          'tr',
          {},
          ['Policy', measureName(view.measure), 'to float', COSTS[view.cost].name, 'ratio'].map(
            (text, index) => el('th', { scope: 'col', class: index === 0 ? 'left' : null }, text),
          ),
        ),
      ),
      el(
        'tbody',
        {},
        points.front.map((point) => row(point, view)),
      ),
    ),
  );
  if (focused) host.querySelector(`[data-episode="${focused}"]`)?.focus();
}
