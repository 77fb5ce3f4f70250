// The page of one search: loads it, follows it, shows the policy that is picked.

import { announce, showFailure } from './announce.js';
import { get, patch } from './api.js';
import { byId, el, throttled } from './dom.js';
import { costOf, showCost, showCount, showQuality, showRatio } from './format.js';
import { showFront } from './front-table.js';
import { bitsScale, bitsStrip, layersTable, meanBits } from './layers.js';
import { LearningChart } from './learning-chart.js';
import { listen } from './live.js';
import { ParetoChart } from './pareto-chart.js';
import { Points } from './points.js';

const MOST_POINTS = 10000;
const MOST_MESSAGES = 200;
const MOST_POLICIES = 300;
const REFRESH_MS = 2000;

const id = byId('search').dataset.search;
const policies = new Map();
// Events that came before the points they belong behind; null once those are here.
let early = [];
let summary = null;
let points = null;
// The cost that was chosen last; the points have theirs until they are exchanged.
let asked = null;
let loads = 0;
// The episode that was picked by hand; null follows the best.
let picked = Number(location.hash.match(/^#episode-(\d+)$/)?.[1] ?? NaN);
if (Number.isNaN(picked)) picked = null;

const pareto = new ParetoChart(byId('pareto'), {
  pick,
  bitsOf: async (episode) => (await policyOf(episode)).layers,
});
const learning = new LearningChart(byId('learning'), { pick });

/** What the server knows of an episode's policy, asked for once. */
function policyOf(episode) {
  if (!policies.has(episode)) {
    if (policies.size >= MOST_POLICIES) policies.delete(policies.keys().next().value);
    const answer = get(`/searches/${id}/layers?episode=${episode}`);
    answer.catch(() => policies.delete(episode));
    policies.set(episode, answer);
  }
  return policies.get(episode);
}

const bestEpisode = () => summary.best?.episode ?? null;
const shownEpisode = () => picked ?? bestEpisode();

/** The best as a point of the chart, also where sampling left it out. */
function bestPoint() {
  const { best } = summary;
  return (
    best && {
      episode: best.episode,
      quality: best.quality,
      cost: costOf(best.cost, points.kind),
      kind: 'proposal',
      feasible: true,
      uniform: null,
    }
  );
}

function view() {
  return {
    points,
    cost: points.kind,
    limit: points.limit,
    measure: summary.measure,
    float_quality: summary.float_quality,
    best: bestPoint(),
    picked: shownEpisode(),
    eight_bit: summary.eight_bit_cost && costOf(summary.eight_bit_cost, points.kind),
    log: byId('log-axis').checked,
    everything: byId('range').value === 'all',
  };
}

function showCaption() {
  const shown = points.all.length;
  const parts = [
    shown < points.total
      ? `${showCount(shown)} of ${showCount(points.total)} episodes are drawn`
      : `${showCount(shown)} episodes`,
  ];
  if (pareto.hidden > 0) parts.push(`${showCount(pareto.hidden)} lie below this range`);
  parts.push(
    matchMedia('(pointer: coarse)').matches
      ? 'tap a point to see its bits'
      : 'click a point to see its bits; Ctrl and the wheel zoom, dragging moves',
  );
  byId('pareto-caption').textContent = `${parts.join('; ')}.`;
}

function showTexts() {
  if (points.all.length === 0) return;
  showCaption();
  if (byId('front-details').open) showFront(byId('front'), points, view());
}

/** What is told beside the chart may lag behind it a little. */
const showTextsSoon = throttled(showTexts, 1000);

function drawAll() {
  const isEmpty = points.all.length === 0;
  for (const part of document.querySelectorAll('[data-from-episodes]')) part.hidden = isEmpty;
  if (isEmpty) {
    byId('pareto-caption').textContent = 'No episode yet.';
    return;
  }
  pareto.show(view());
  learning.show(view());
  showTexts();
}

async function showPolicy() {
  const episode = shownEpisode();
  byId('pick-best').hidden = picked === null || picked === bestEpisode();
  for (const link of document.querySelectorAll('[data-export]')) {
    const { origin, pathname } = new URL(link.href);
    link.href = `${origin}${pathname}${picked === null ? '' : `?episode=${picked}`}`;
  }
  byId('downloads').hidden = episode === null;
  byId('exports-note').textContent =
    episode === null ? 'Nothing yet.' : picked === null ? 'Of the best.' : `Of episode ${picked}.`;
  if (episode === null) {
    byId('picked').textContent = 'No policy yet.';
    return;
  }
  try {
    const policy = await policyOf(episode);
    // Another one may have been picked while this was on its way.
    if (episode === shownEpisode()) showLayers(episode, policy);
  } catch (error) {
    byId('picked').textContent = `Episode ${episode}: ${error.message}.`;
  }
}

function showLayers(episode, { layers, quality, cost: costs }) {
  const kind = summary.objective ?? points.kind;
  const mean = meanBits(layers);
  const value = costOf(costs, kind);
  const ratio = summary.eight_bit_cost ? ` (${showRatio(value / costOf(summary.eight_bit_cost, kind))})` : '';
  byId('picked').textContent =
    `Episode ${episode}${episode === bestEpisode() ? ', the best' : ''}: ${showQuality(summary.measure, quality)} at ${showCost(kind, value)}${ratio}; ` +
    `on average ${mean.weight} bits a weight, ${mean.activation} bits a layer's input.`;
  byId('bits').replaceChildren(...bitsStrip(layers));
  byId('bits-scale').replaceChildren(...bitsScale(layers));
  byId('layers').replaceChildren(layersTable(layers, kind));
}

function pick(episode) {
  picked = episode;
  history.replaceState(history.state, '', episode === null ? location.pathname : `#episode-${episode}`);
  drawAll();
  showPolicy();
}

async function loadPoints() {
  early ??= [];
  loads += 1;
  try {
    const answer = await get(`/searches/${id}/points?cost=${asked}&max=${MOST_POINTS}`);
    if (answer.cost === asked) points = new Points(answer);
  } finally {
    loads -= 1;
    // After a failure too: what is on show goes on.
    if (points && loads === 0) {
      const waiting = early;
      early = null;
      waiting.forEach(keepEpisode);
    }
  }
  drawAll();
}

async function load() {
  try {
    summary = await get(`/searches/${id}`);
    asked ??= summary.objective ?? 'latency';
    byId('cost').value = asked;
    await loadPoints();
    await showPolicy();
  } catch (error) {
    showFailure(`Could not load search ${id}`, error);
  }
}

const loadSoon = throttled(load, REFRESH_MS);
const refreshHead = throttled(() => htmx.trigger('#head', 'refresh'), REFRESH_MS);
const showPolicySoon = throttled(showPolicy, REFRESH_MS);

/** Adds a new episode to what is known; false where it was known already. */
function keepEpisode(event) {
  const { episode, quality, cost, kind, feasible } = event;
  if (!points.add({ episode, cost: costOf(cost, points.kind), quality, kind, feasible, uniform: null }))
    return false;
  // What is uniform about a reference is known to the points alone.
  if (kind === 'reference') loadSoon();
  if (event.is_best) {
    summary.best = { episode, quality, test_quality: null, cost };
    refreshHead();
    if (picked === null) showPolicySoon();
  }
  return true;
}

function addEpisode(event) {
  if (early) {
    early.push(event);
    return;
  }
  if (!keepEpisode(event)) return;
  if (points.all.length === 1) drawAll();
  pareto.showSoon({ best: bestPoint(), picked: shownEpisode() });
  learning.showSoon({ picked: shownEpisode() });
  showTextsSoon();
}

function showProgress({ proposals, episodes_planned: planned }) {
  byId('done').textContent = showCount(proposals);
  byId('progress').max = planned;
  byId('progress').value = proposals;
}

function showMessage({ level, message }, isPast) {
  const log = byId('log');
  log.querySelector('.note')?.remove();
  const follows = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
  log.append(
    el(
      'li',
      { class: level },
      // When it was said before is not known.
      isPast ? null : [el('time', {}, new Date().toLocaleTimeString()), ' '],
      `${level === 'info' ? '' : `${level}: `}${message}`,
    ),
  );
  while (log.children.length > MOST_MESSAGES) log.firstChild.remove();
  if (follows) log.scrollTop = log.scrollHeight;
}

byId('cost').addEventListener('change', async ({ target }) => {
  asked = target.value;
  try {
    await loadPoints();
  } catch (error) {
    showFailure('Could not load the points', error);
  }
});
byId('range').addEventListener('change', () => points && drawAll());
byId('log-axis').addEventListener('change', () => points && drawAll());
byId('zoom-in').addEventListener('click', () => pareto.zoom(0.6));
byId('zoom-out').addEventListener('click', () => pareto.zoom(1 / 0.6));
byId('zoom-reset').addEventListener('click', () => pareto.resetZoom());
byId('pick-best').addEventListener('click', () => pick(null));
byId('front-details').addEventListener('toggle', () => points && showTexts());
byId('front').addEventListener('click', ({ target }) => {
  const episode = target.closest('button')?.dataset.episode;
  if (episode) pick(Number(episode));
});

for (const details of document.querySelectorAll('[data-plot]')) {
  // A plot that was drawn earlier in the search is drawn again.
  details.addEventListener('toggle', () => {
    if (details.open)
      details.querySelector('img').src = `${details.dataset.plot}?at=${byId('progress').value}`;
  });
}

byId('edit').addEventListener('submit', async (event) => {
  event.preventDefault();
  const fields = new FormData(event.target);
  const tags = fields
    .get('tags')
    .split(',')
    .map((tag) => tag.trim())
    .filter((tag) => tag !== '');
  try {
    await patch(`/searches/${id}`, { tags, note: fields.get('note') });
    announce('Tags and note are saved');
    event.target.closest('details').open = false;
    refreshHead();
  } catch (error) {
    showFailure('Could not save', error);
  }
});

document.addEventListener('search-changed', refreshHead);

listen(`/api/v1/searches/${id}/events`, {
  episode(event) {
    showProgress(event);
    addEpisode(event);
  },
  state({ state }) {
    announce(`Search ${id} is ${state}`);
    refreshHead();
    loadSoon();
  },
  log: showMessage,
  reopened: () => byId('log').replaceChildren(),
  reset() {
    policies.clear();
    refreshHead();
    loadSoon();
  },
});
load();
