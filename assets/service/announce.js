// What the page says to everyone: changes politely, failures until they are dismissed.

import { byId, el } from './dom.js';

/** For screen readers; eyes see the change where it happened. */
export function announce(text) {
  byId('announcement').textContent = text;
}

export function showFailure(what, error) {
  const failure = el('div', { class: 'failure' }, el('p', {}, `${what}: ${error.message}`));
  const dismiss = el('button', { type: 'button' }, 'Dismiss');
  dismiss.addEventListener('click', () => failure.remove());
  failure.append(dismiss);
  byId('failures').replaceChildren(failure);
}
