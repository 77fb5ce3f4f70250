// What all charts share: frame, tooltip, zoom, drawing no more often than is comfortable.

import { colours, onThemeChange } from './colours.js';
import { el } from './dom.js';
import { logTicks } from './scale.js';

const FONT = '"Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
const LEAST_WAIT_MS = 400;
const CLICK_REACH_PX = 22;
// Above this the points of a series are drawn in one stroke.
const LARGE = 2000;

/** A chart in `host`; `build(colours)` makes its options. */
export class Chart {
  #timer = null;
  #drawn = false;
  #cost_ms = 0;

  constructor(host, build) {
    this.build = build;
    this.zoomed = false;
    this.chart = echarts.init(host);
    this.chart.on('datazoom', () => this.#noteZoom());
    new ResizeObserver(() => this.chart.resize()).observe(host);
    onThemeChange(() => this.#drawn && this.draw());
  }

  draw() {
    const start = performance.now();
    this.chart.setOption(this.build(colours()), { replaceMerge: ['series'] });
    this.#drawn = true;
    this.#cost_ms = performance.now() - start;
  }

  /** Draws soon; a chart that takes long to draw waits longer, so that the page stays quick. */
  drawSoon() {
    if (this.#timer !== null) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = null;
        // Hidden pages get no frames, and so no work.
        requestAnimationFrame(() => this.draw());
      },
      Math.max(LEAST_WAIT_MS, this.#cost_ms * 8),
    );
  }

  /** Calls `pick(episode)` with the point that was clicked, or else the nearest; `at(point)` is its place on the axes. */
  onClick(candidates, at, pick) {
    let hit = false;
    this.chart.on('click', ({ value }) => {
      hit = true;
      pick(value[2]);
    });
    this.chart.getZr().on('click', ({ offsetX, offsetY }) => {
      // The chart hears of a click before this, and knows what the tooltip shows.
      if (hit) {
        hit = false;
        return;
      }
      if (!this.chart.containPixel('grid', [offsetX, offsetY])) return;
      const low = this.chart.convertFromPixel('grid', [offsetX - CLICK_REACH_PX, offsetY + CLICK_REACH_PX]);
      const high = this.chart.convertFromPixel('grid', [offsetX + CLICK_REACH_PX, offsetY - CLICK_REACH_PX]);
      let nearest = null;
      let shortest = CLICK_REACH_PX;
      for (const point of candidates()) {
        const [x, y] = at(point);
        if (x < low[0] || x > high[0] || y < low[1] || y > high[1]) continue;
        const [px, py] = this.chart.convertToPixel('grid', [x, y]);
        const distance = Math.hypot(px - offsetX, py - offsetY);
        if (distance < shortest) [nearest, shortest] = [point, distance];
      }
      if (nearest) pick(nearest.episode);
    });
  }

  #noteZoom() {
    this.zoomed = this.chart.getOption().dataZoom.some(({ start, end }) => start > 0 || end < 100);
    // The ends of a whole range are round numbers, those of a part are not.
    const axisLabel = { showMinLabel: !this.zoomed, showMaxLabel: !this.zoomed };
    this.chart.setOption({ xAxis: { axisLabel }, yAxis: { axisLabel } });
  }

  /** Narrows the view to a share of itself around its middle; a share above 1 widens it. */
  zoom(share) {
    if (!this.#drawn) return;
    const batch = this.chart.getOption().dataZoom.map(({ id, start, end }) => {
      const half = Math.min(50, ((end - start) / 2) * share);
      const middle = Math.min(100 - half, Math.max(half, (start + end) / 2));
      return { dataZoomId: id, start: middle - half, end: middle + half };
    });
    this.chart.dispatchAction({ type: 'dataZoom', batch });
  }

  resetZoom() {
    if (!this.#drawn) return;
    this.zoomed = false;
    const batch = this.chart.getOption().dataZoom.map(({ id }) => ({ dataZoomId: id, start: 0, end: 100 }));
    this.chart.dispatchAction({ type: 'dataZoom', batch });
  }
}

function axis(palette, name, gap) {
  return {
    name,
    nameLocation: 'middle',
    nameGap: gap,
    nameTextStyle: { color: palette.ink, fontSize: 13 },
    axisLabel: { color: palette.muted, hideOverlap: true },
    axisLine: { show: true, lineStyle: { color: palette.axis } },
    axisTick: { show: false },
    splitLine: { show: true, lineStyle: { color: palette.grid } },
  };
}

/** An axis of values between round ends. */
export function valueAxis(palette, name, { min, max }, gap) {
  return { ...axis(palette, name, gap), type: 'value', min, max, splitNumber: 5 };
}

export function logAxis(palette, name, { min, max }, gap) {
  const base = axis(palette, name, gap);
  const customValues = logTicks(min, max);
  return {
    ...base,
    type: 'log',
    min,
    max,
    axisLabel: { ...base.axisLabel, customValues },
    splitLine: { show: false },
    axisTick: { show: true, customValues, lineStyle: { color: palette.axis } },
  };
}

/** Options of every chart; `describe(episode, series)` makes the tooltip's lines. */
export function frame(palette, legend, describe) {
  // A finger that scrolls the page must not move the chart; there are buttons for that.
  const touch = matchMedia('(pointer: coarse)').matches;
  const inside = {
    type: 'inside',
    filterMode: 'none',
    disabled: touch,
    zoomOnMouseWheel: 'ctrl',
    moveOnMouseWheel: false,
  };
  return {
    animation: false,
    textStyle: { fontFamily: FONT, color: palette.ink },
    grid: { left: 62, right: 22, top: 58, bottom: 52 },
    legend: {
      type: 'scroll',
      top: 4,
      left: 8,
      itemWidth: 16,
      itemHeight: 9,
      data: legend,
      textStyle: { color: palette.ink },
      inactiveColor: palette.axis,
      pageTextStyle: { color: palette.muted },
      pageIconColor: palette.ink,
      pageIconInactiveColor: palette.grid,
    },
    dataZoom: [
      { ...inside, id: 'x', xAxisIndex: 0 },
      { ...inside, id: 'y', yAxisIndex: 0 },
    ],
    tooltip: {
      trigger: 'item',
      confine: true,
      className: 'tip',
      backgroundColor: palette.paper,
      borderColor: palette.axis,
      textStyle: { color: palette.ink, fontSize: 13 },
      // An element, not HTML: the content-security policy forbids style attributes.
      formatter: ({ value, seriesId }) => (value ? el('div', {}, ...describe(value[2], seriesId)) : ''),
    },
  };
}

/** Episodes as dots: the fewer, the easier each is to see. */
export function dotStyle(count, color) {
  const [symbolSize, opacity] = count < 300 ? [8, 0.6] : count < LARGE ? [6, 0.5] : [5, 0.4];
  return {
    type: 'scatter',
    symbolSize,
    large: true,
    largeThreshold: LARGE,
    itemStyle: { color, opacity },
  };
}

/** A line across the chart: `xAxis` or `yAxis` says where. */
export function markLine(where, text, colour, type) {
  return {
    ...where,
    lineStyle: { color: colour, type, width: 1.5 },
    label: {
      formatter: text,
      color: colour,
      position: 'xAxis' in where ? 'end' : 'insideStartTop',
      // Above what is drawn at the upper edge.
      ...('xAxis' in where && { distance: 14 }),
      fontSize: 12,
    },
  };
}
