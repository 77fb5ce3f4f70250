// What every page has: buttons that act on a search, and dialogs.

import { announce, showFailure } from './announce.js';
import { post, remove } from './api.js';

const DONE = { pause: 'will pause', resume: 'is queued again', cancel: 'will be cancelled' };

async function act(button) {
  const { action, search } = button.dataset;
  button.disabled = true;
  try {
    if (action === 'delete') {
      await remove(`/searches/${search}`);
      location.assign('/');
      return;
    }
    await post(`/searches/${search}/${action}`);
    announce(`Search ${search} ${DONE[action]}`);
    button.dispatchEvent(new CustomEvent('search-changed', { bubbles: true }));
  } catch (error) {
    showFailure(`Could not ${action} search ${search}`, error);
  } finally {
    button.disabled = false;
  }
}

// On the document, because rows and heads are exchanged while the page lives.
document.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (button?.dataset.action) act(button);
  if (button?.dataset.dialog) document.getElementById(button.dataset.dialog).showModal();
});

document.getElementById('problems')?.focus();
