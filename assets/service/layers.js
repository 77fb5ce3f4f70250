// The bits of one policy, layer by layer: a strip to see at once, a table to understand.

import { el } from './dom.js';
import { COSTS, costOf, showCost, showKl, showLarge, showShare } from './format.js';

const bit = (operand, bits) => el('span', { class: `bit ${operand} b${bits}` }, String(bits));

/** One cell a layer: weight bits above, activation bits below. */
export function bitsStrip(layers) {
  return layers.map((layer, index) =>
    el(
      'li',
      {
        title: `${index} ${layer.name}${layer.pinned ? ' (pinned)' : ''}`,
        class: layer.pinned ? 'pinned' : null,
      },
      el('span', { class: 'visually-hidden' }, `${layer.name}: weight bits `),
      bit('weight', layer.weight_bits),
      el('span', { class: 'visually-hidden' }, ', activation bits '),
      bit('activation', layer.activation_bits),
      el('span', { class: 'index', 'aria-hidden': 'true' }, String(index)),
    ),
  );
}

/** What the colours of the strip say. */
export function bitsScale(layers) {
  const scale = (operand, name, key) => {
    const widths = [...new Set(layers.map((layer) => layer[key]))].sort((a, b) => a - b);
    return [el('span', {}, name), ...widths.map((bits) => bit(operand, bits))];
  };
  return [
    ...scale('weight', 'Above, weight bits', 'weight_bits'),
    ...scale('activation', 'below, activation bits', 'activation_bits'),
    el('span', {}, 'dotted: pinned'),
  ];
}

/** Mean bits over the layers, as "4.25 / 6.10". */
export function meanBits(layers) {
  const weights = layers.reduce((sum, layer) => sum + layer.weights, 0);
  const weighted = layers.reduce((sum, layer) => sum + layer.weights * layer.weight_bits, 0) / weights;
  const activations = layers.reduce((sum, layer) => sum + layer.activation_bits, 0) / layers.length;
  return { weight: weighted.toFixed(2), activation: activations.toFixed(2) };
}

/** With its sign, unless it rounds to nothing. */
const signed = (value, text) => `${/[1-9]/.test(text) ? (value > 0 ? '+' : '−') : ''}${text}`;

/** "W 3", "−2.1 %", "KL +0.0012": one tensor at its next width; the cost is the network's. */
function change({ operand, to_bits, predicted_cost_change, predicted_kl_change, breaks_a_budget }) {
  const width = `${operand === 'weights' ? 'W' : 'A'} ${to_bits}`;
  const cost = signed(predicted_cost_change, showShare(Math.abs(predicted_cost_change)));
  const parts = [[el('strong', {}, width), ` ${cost}`]];
  if (predicted_kl_change !== null)
    parts.push(`KL ${signed(predicted_kl_change, showKl(Math.abs(predicted_kl_change)))}`);
  if (breaks_a_budget) parts.push('over budget');
  // Lines break between the parts, not within.
  const spans = parts.map((part, index) => [index > 0 ? ', ' : null, el('span', {}, part)]);
  return el('small', {}, spans);
}

/** The next widths of a layer's tensors, down or up. */
function changes(layer, up) {
  const bitsOf = { weights: layer.weight_bits, activations: layer.activation_bits };
  const found = layer.changes.filter(({ operand, to_bits }) => to_bits > bitsOf[operand] === up);
  return found.length > 0 ? found.map(change) : '–';
}

/** What each tensor alone takes at its bits: "W 0.0012, A –". */
function sensitivity({ weight_kl: weight, activation_kl: activation }) {
  if (weight === null && activation === null) return '–';
  const show = (kl) => (kl === null ? '–' : showKl(kl));
  return [el('small', {}, `W ${show(weight)}`), el('small', {}, `A ${show(activation)}`)];
}

/** A layer's cost with its share; the bar of the dearest layer fills the cell. */
function costCell(layer, kind, dearest) {
  const cost = costOf(layer, kind);
  const cell = el('td', {}, typeof cost === 'number' ? showCost(kind, cost) : '–');
  if (layer.share !== null) {
    cell.classList.add('share');
    cell.style.setProperty('--share', `${(layer.share / dearest) * 100}%`);
    cell.append(el('small', {}, showShare(layer.share)));
  }
  return cell;
}

function row(layer, index, kind, dearest) {
  return el(
    'tr',
    {},
    el('td', {}, String(index)),
    el(
      'th',
      { scope: 'row', class: 'left name', title: layer.name },
      layer.name,
      el('small', {}, layer.kind),
    ),
    el(
      'td',
      { class: 'left' },
      bit('weight', layer.weight_bits),
      ' ',
      bit('activation', layer.activation_bits),
    ),
    el('td', {}, showLarge(layer.macs)),
    el('td', {}, showLarge(layer.weights)),
    costCell(layer, kind, dearest),
    el('td', { class: 'left' }, layer.bound),
    el('td', {}, sensitivity(layer)),
    el('td', { class: 'left change' }, changes(layer, false)),
    el('td', { class: 'left change' }, changes(layer, true)),
    el('td', { class: 'left wrap' }, layer.why ?? '–'),
  );
}

/** The table of layers; `kind` is the cost the search minds. */
export function layersTable(layers, kind) {
  const dearest = Math.max(...layers.map((layer) => layer.share ?? 0));
  const head = (text, left, title) => el('th', { scope: 'col', class: left ? 'left' : null, title }, text);
  return el(
    'table',
    {},
    el(
      'caption',
      { class: 'visually-hidden' },
      'Each layer with its bits, its cost and the reason for its bits',
    ),
    el(
      'thead',
      {},
      el(
        'tr',
        {},
        head('#'),
        head('Layer', true),
        head('Bits, W A', true, 'weight bits, activation bits'),
        head('MACs'),
        head('Weights'),
        head(`${COSTS[kind].name}, share`),
        head('Bound by', true),
        head('KL'),
        head('Next width down', true),
        head('Next width up', true),
        head('Why', true),
      ),
    ),
    el(
      'tbody',
      {},
      layers.map((layer, index) => row(layer, index, kind, dearest)),
    ),
  );
}
