// Quality against one cost: every episode, the front, and what to compare it with.

import { Chart, dotStyle, frame, logAxis, markLine, valueAxis } from './chart.js';
import { el } from './dom.js';
import { COSTS, qualityAxis, qualityCeiling, qualityScale, showCost, showQuality, unitOf } from './format.js';
import { logRange, lowestShown, roundRange } from './scale.js';

const HOVER_MS = 150;

const bounds = (values) =>
  values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);

export class ParetoChart {
  #chart;
  #hover = null;

  /**
   * - `pick(episode)`: a point was clicked
   * - `bitsOf(episode)`: promise of its layers
   */
  constructor(host, { pick, bitsOf }) {
    this.bitsOf = bitsOf;
    this.view = null;
    this.#chart = new Chart(host, (palette) => this.#options(palette));
    this.#chart.onClick(
      () => this.view.points.all,
      (point) => this.#at(point),
      pick,
    );
  }

  /** Changes what is shown: points, cost, measure, limit, float_quality, best, picked, log, everything. */
  show(change) {
    const before = this.view;
    this.view = { ...before, ...change };
    if (before && ['cost', 'log', 'everything'].some((key) => before[key] !== this.view[key]))
      this.#chart.resetZoom();
    this.#chart.draw();
  }

  /** The same, drawn with whatever else comes soon. */
  showSoon(change) {
    this.view = { ...this.view, ...change };
    this.#chart.drawSoon();
  }

  zoom(share) {
    this.#chart.zoom(share);
  }

  resetZoom() {
    this.#chart.resetZoom();
  }

  /** How many episodes lie below the range shown. */
  get hidden() {
    return this.view.points.all.filter((point) => point.quality * this.scale < this.range.y.min).length;
  }

  #at({ cost, quality }) {
    return [cost / this.unit.factor, quality * this.scale];
  }

  #ranges() {
    const { points, measure, limit, float_quality: float, everything, log } = this.view;
    const references = points.all.filter((point) => point.uniform);
    const qualities = bounds([
      ...points.all.map((point) => point.quality),
      ...(float === null ? [] : [float]),
    ]);
    const matter = points.front.length < 4 ? [...points.front, ...references] : points.front;
    const low = everything
      ? qualities[0]
      : Math.max(
          qualities[0],
          lowestShown(
            qualities[1],
            matter.map((point) => point.quality),
          ),
        );
    const seen = [...points.all.filter((point) => point.quality >= low), ...references];
    let [left, right] = bounds(seen.map((point) => point.cost / this.unit.factor));
    // A budget far from everything would leave the chart empty.
    const reach = Math.max(right - left, right * 0.2);
    const edge = limit === null ? null : limit / this.unit.factor;
    if (edge !== null && edge > left - reach && edge < right + reach)
      [left, right] = [Math.min(left, edge), Math.max(right, edge)];
    const x = log && left > 0 ? logRange(left, right) : roundRange(left, right, 0);
    const ends = [low * this.scale, qualities[1] * this.scale];
    return { x, y: roundRange(...ends, -Infinity, qualityCeiling(measure)) };
  }

  #series(palette) {
    const { points, cost, measure, limit, float_quality: float, best, picked } = this.view;
    const data = (chosen) => chosen.map((point) => [...this.#at(point), point.episode]);
    const dots = (id, name, color, chosen) => ({
      ...dotStyle(points.all.length, color),
      id,
      name,
      z: 2,
      data: data(chosen),
    });
    const lines = [];
    if (limit !== null)
      lines.push(
        markLine(
          { xAxis: limit / this.unit.factor },
          `budget ${showCost(cost, limit)}`,
          palette.purple,
          'solid',
        ),
      );
    if (float !== null)
      lines.push(
        markLine(
          { yAxis: float * this.scale },
          `float ${showQuality(measure, float)}`,
          palette.muted,
          'dashed',
        ),
      );
    const references = points.all.filter((point) => point.uniform);
    return [
      dots(
        'over',
        'over budget',
        palette.axis,
        points.all.filter((point) => !point.feasible && !point.uniform),
      ),
      dots(
        'tried',
        'policies tried',
        palette.blue,
        points.all.filter((point) => point.feasible && !point.uniform),
      ),
      {
        id: 'front',
        name: 'Pareto front',
        type: 'line',
        step: 'end',
        z: 4,
        symbol: 'circle',
        symbolSize: points.front.length > 60 ? 6 : 8,
        showAllSymbol: true,
        lineStyle: { color: palette.blue, width: 2.25 },
        itemStyle: { color: palette.blue },
        data: data(points.front),
        markLine: { silent: true, symbol: 'none', animation: false, data: lines },
      },
      {
        id: 'uniform',
        name: 'uniform, weights/activations',
        type: 'scatter',
        z: 5,
        symbol: 'rect',
        symbolSize: 9,
        itemStyle: { color: palette.paper, borderColor: palette.ink, borderWidth: 1.5 },
        data: data(references),
        label: {
          show: true,
          position: 'top',
          color: palette.ink,
          fontSize: 12,
          fontWeight: 'bold',
          backgroundColor: palette.paper,
          padding: [1, 3],
          borderRadius: 3,
          formatter: ({ value }) => points.get(value[2]).uniform,
        },
        labelLayout: { hideOverlap: true },
      },
      {
        id: 'best',
        name: 'best',
        type: 'scatter',
        z: 6,
        symbol: 'diamond',
        symbolSize: 17,
        itemStyle: { color: palette.vermilion, borderColor: palette.paper, borderWidth: 1.5 },
        data: data([best].filter((point) => point)),
      },
      {
        id: 'picked',
        name: 'picked',
        type: 'scatter',
        z: 7,
        symbol: 'circle',
        symbolSize: 22,
        silent: true,
        itemStyle: { color: 'transparent', borderColor: palette.ink, borderWidth: 2 },
        data: data([points.get(picked)].filter((point) => point)),
      },
    ];
  }

  #options(palette) {
    const { points, cost, measure, log } = this.view;
    // While somebody looks closely, new episodes do not move the picture.
    if (!this.#chart.zoomed) {
      this.unit = unitOf(
        cost,
        points.all.reduce((most, point) => Math.max(most, point.cost), 0),
      );
      this.scale = qualityScale(measure);
      this.range = this.#ranges();
    }
    const name = `${COSTS[cost].name} (${this.unit.name})`;
    const series = this.#series(palette);
    const named = series.filter(({ id, data }) => id !== 'picked' && data.length > 0).map((one) => one.name);
    return {
      ...frame(palette, named, (episode) => this.#describe(episode)),
      xAxis: (log ? logAxis : valueAxis)(palette, name, this.range.x, 30),
      yAxis: valueAxis(palette, qualityAxis(measure), this.range.y, 44),
      series,
    };
  }

  #describe(episode) {
    const { points, cost, measure, best } = this.view;
    const point = points.get(episode) ?? best;
    const kind = point.uniform ? `uniform ${point.uniform}` : point.kind;
    return [
      el(
        'p',
        {},
        el('strong', {}, `Episode ${episode}`),
        ` · ${kind}${point.feasible ? '' : ' · over budget'}`,
      ),
      el('p', {}, `${showQuality(measure, point.quality)} at ${showCost(cost, point.cost)}`),
      this.#bitsLine(episode),
    ];
  }

  /** A line that fills with the episode's bits; each drawing of the chart asks for it anew. */
  #bitsLine(episode) {
    const line = el('p', { class: 'tip-bits' });
    if (this.#hover?.episode !== episode) {
      clearTimeout(this.#hover?.timer);
      const hover = { episode, text: 'bits: …' };
      const load = async () => {
        const layers = await this.bitsOf(episode).catch(() => null);
        hover.text = layers
          ? layers.map((layer) => `${layer.weight_bits}/${layer.activation_bits}`).join(' ')
          : 'bits: not available';
        hover.line.textContent = hover.text;
      };
      // A pointer that only passes by asks for nothing.
      hover.timer = setTimeout(load, HOVER_MS);
      this.#hover = hover;
    }
    this.#hover.line = line;
    line.textContent = this.#hover.text;
    return line;
  }
}
