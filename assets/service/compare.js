// Fronts of several searches in one chart.

import { showFailure } from './announce.js';
import { get } from './api.js';
import { Chart, frame, logAxis, valueAxis } from './chart.js';
import { SERIES } from './colours.js';
import { byId, el } from './dom.js';
import {
  COSTS,
  costOf,
  qualityAxis,
  qualityCeiling,
  qualityScale,
  showCost,
  showQuality,
  unitOf,
} from './format.js';
import { joinFront } from './points.js';
import { logRange, lowestShown, roundRange } from './scale.js';

const SYMBOLS = ['circle', 'rect', 'triangle', 'diamond', 'pin', 'arrow'];

let searches = [];

const chosenCost = () => byId('cost').value;
const nameOf = ({ summary }) => `${summary.id} ${summary.strategy} · ${summary.profile}`;

/** A search's front against the chosen cost, which may leave out members of its own. */
function frontOf({ front }) {
  const kept = [];
  for (const { episode, quality, cost } of front)
    joinFront(kept, { episode, quality, cost: costOf(cost, chosenCost()) });
  return kept;
}

function options(palette) {
  const kind = chosenCost();
  const { measure } = searches[0].summary;
  const fronts = searches.map(frontOf);
  const all = fronts.flat();
  const unit = unitOf(kind, Math.max(...all.map((point) => point.cost)));
  const scale = qualityScale(measure);
  const best = Math.max(...all.map((point) => point.quality));
  const low = lowestShown(
    best,
    all.map((point) => point.quality),
  );
  const costs = all.filter((point) => point.quality >= low).map((point) => point.cost);
  const [left, right] = [Math.min(...costs) / unit.factor, Math.max(...costs) / unit.factor];
  const log = byId('log-axis').checked;
  const series = searches.map((search, index) => ({
    id: String(index),
    name: nameOf(search),
    type: 'line',
    step: 'end',
    symbol: SYMBOLS[index % SYMBOLS.length],
    symbolSize: 9,
    showAllSymbol: true,
    lineStyle: { width: 2, color: palette[SERIES[index % SERIES.length]] },
    itemStyle: { color: palette[SERIES[index % SERIES.length]] },
    data: fronts[index].map((point) => [point.cost / unit.factor, point.quality * scale, point.episode]),
  }));
  const describe = (episode, seriesId) => {
    const point = fronts[Number(seriesId)].find((member) => member.episode === episode);
    return [
      el('p', {}, el('strong', {}, nameOf(searches[Number(seriesId)])), ` · episode ${episode}`),
      el('p', {}, `${showQuality(measure, point.quality)} at ${showCost(kind, point.cost)}`),
    ];
  };
  return {
    ...frame(
      palette,
      series.map(({ name }) => name),
      describe,
    ),
    xAxis: log
      ? logAxis(palette, `${COSTS[kind].name} (${unit.name})`, logRange(left, right), 30)
      : valueAxis(palette, `${COSTS[kind].name} (${unit.name})`, roundRange(left, right, 0), 30),
    yAxis: valueAxis(
      palette,
      qualityAxis(measure),
      roundRange(low * scale, best * scale, -Infinity, qualityCeiling(measure)),
      44,
    ),
    series,
  };
}

async function load(host) {
  const answer = await get(`/compare?ids=${encodeURIComponent(host.dataset.ids)}`);
  const shown = answer.searches.filter(({ front }) => front.length > 0);
  searches = shown.filter(({ summary }) => summary.measure === shown[0].summary.measure);
  const left = answer.searches
    .filter((search) => !searches.includes(search))
    .map(({ summary }) => summary.id);
  byId('fronts-caption').textContent =
    left.length > 0 ? `Not drawn: ${left.join(', ')}, without a front or with another quality measure.` : '';
  if (searches.length === 0) return;
  byId('cost').value = searches[0].summary.objective ?? 'latency';
  const chart = new Chart(host, options);
  chart.draw();
  byId('cost').addEventListener('change', () => chart.draw());
  byId('log-axis').addEventListener('change', () => chart.draw());
}

const host = byId('fronts');
if (host) load(host).catch((error) => showFailure('Could not load the fronts', error));
