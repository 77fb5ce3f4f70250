// Quality by episode, with the best within the budgets so far.

import { Chart, dotStyle, frame, markLine, valueAxis } from './chart.js';
import { el } from './dom.js';
import { qualityAxis, qualityCeiling, qualityScale, showCount, showQuality } from './format.js';
import { lowestShown, roundRange } from './scale.js';

export class LearningChart {
  #chart;

  constructor(host, { pick }) {
    this.view = null;
    this.#chart = new Chart(host, (palette) => this.#options(palette));
    this.#chart.onClick(
      () => this.view.points.all,
      (point) => [point.episode, point.quality * this.scale],
      pick,
    );
  }

  /** Changes what is shown: points, measure, float_quality, picked. */
  show(change) {
    this.view = { ...this.view, ...change };
    this.#chart.draw();
  }

  /** The same, drawn with whatever else comes soon. */
  showSoon(change) {
    this.view = { ...this.view, ...change };
    this.#chart.drawSoon();
  }

  #options(palette) {
    const { points, measure, float_quality: float, picked } = this.view;
    this.scale = qualityScale(measure);
    const steps = points.bestSoFar();
    const qualities = points.all.map((point) => point.quality);
    const best = [...qualities, float ?? -Infinity].reduce((most, value) => Math.max(most, value), -Infinity);
    const least = qualities.reduce((low, value) => Math.min(low, value), Infinity);
    // The first bad guesses would press everything else into a line.
    const low = Math.max(least, lowestShown(best, qualities));
    const dots = (id, name, color, chosen) => ({
      ...dotStyle(points.all.length, color),
      id,
      name,
      data: chosen.map((point) => [point.episode, point.quality * this.scale, point.episode]),
    });
    const chosen = points.get(picked);
    const series = [
      dots(
        'over',
        'over budget',
        palette.axis,
        points.all.filter((point) => !point.feasible),
      ),
      dots(
        'tried',
        'an episode',
        palette.blue,
        points.all.filter((point) => point.feasible),
      ),
      {
        id: 'best',
        name: 'best so far',
        type: 'line',
        step: 'end',
        z: 4,
        symbol: 'none',
        lineStyle: { color: palette.vermilion, width: 2.5 },
        itemStyle: { color: palette.vermilion },
        data: steps.map(([episode, quality]) => [episode, quality * this.scale, episode]),
        markLine: {
          silent: true,
          symbol: 'none',
          animation: false,
          data:
            float === null
              ? []
              : [
                  markLine(
                    { yAxis: float * this.scale },
                    `float ${showQuality(measure, float)}`,
                    palette.muted,
                    'dashed',
                  ),
                ],
        },
      },
      {
        id: 'picked',
        name: 'picked',
        type: 'scatter',
        z: 5,
        silent: true,
        symbol: 'circle',
        symbolSize: 18,
        itemStyle: { color: 'transparent', borderColor: palette.ink, borderWidth: 2 },
        data: chosen ? [[chosen.episode, chosen.quality * this.scale, chosen.episode]] : [],
      },
    ];
    const last = points.all.at(-1)?.episode ?? 1;
    const seen = roundRange(low * this.scale, best * this.scale, -Infinity, qualityCeiling(measure));
    return {
      ...frame(
        palette,
        series.filter(({ id, data }) => id !== 'picked' && data.length > 0).map((one) => one.name),
        (episode) => this.#describe(episode),
      ),
      xAxis: valueAxis(palette, 'episode', { min: 0, max: roundRange(0, last).max }, 30),
      yAxis: valueAxis(palette, qualityAxis(measure), seen, 44),
      series,
    };
  }

  #describe(episode) {
    const { points, measure } = this.view;
    const point = points.get(episode);
    return point
      ? [
          el('p', {}, el('strong', {}, `Episode ${showCount(episode)}`), ` · ${point.kind}`),
          el('p', {}, showQuality(measure, point.quality)),
        ]
      : [];
  }
}
