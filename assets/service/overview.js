// The overview: rows follow their searches, ticked ones are compared.

import { announce } from './announce.js';
import { byId, throttled } from './dom.js';
import { showCount } from './format.js';
import { listen } from './live.js';

const REFRESH_MS = 2000;
const selected = new Set();

const refresh = throttled(() => htmx.trigger('#searches', 'refresh'), REFRESH_MS);

function showProgress({ search, proposals, episodes_planned }) {
  const row = byId(`search-${search}`);
  if (!row) return;
  row.querySelector('[data-done]').textContent = showCount(proposals);
  const bar = row.querySelector('progress');
  bar.max = episodes_planned;
  bar.value = proposals;
}

function showSelection() {
  const button = byId('compare').querySelector('button');
  button.disabled = selected.size < 2;
  byId('selection').textContent =
    selected.size === 0
      ? 'Select two or more searches to compare them.'
      : `Selected: ${[...selected].join(', ')}`;
}

document.addEventListener('change', ({ target }) => {
  if (!target.matches('input[name=ids]')) return;
  if (target.checked) selected.add(target.value);
  else selected.delete(target.value);
  showSelection();
});

byId('compare').addEventListener('submit', (event) => {
  event.preventDefault();
  location.assign(`/compare?ids=${[...selected].join(',')}`);
});

// Exchanged rows know nothing of what was ticked, also on another page of the table.
document.addEventListener('htmx:after:swap', () => {
  for (const box of document.querySelectorAll('input[name=ids]')) box.checked = selected.has(box.value);
});

document.addEventListener('search-changed', refresh);

for (const box of document.querySelectorAll('input[name=ids]:checked')) selected.add(box.value);
showSelection();

listen('/api/v1/events', {
  episode(event) {
    showProgress(event);
    if (event.is_best) refresh();
  },
  state({ search, state }) {
    announce(`Search ${search} is ${state}`);
    refresh();
  },
  deleted: refresh,
  reset: refresh,
});
