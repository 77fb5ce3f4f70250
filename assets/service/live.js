// Server-sent events, kept open while the page is looked at.

import { byId } from './dom.js';

const RETRY_MS = 5000;
// Browsers allow few connections to one server: a page nobody looks at gives its own back.
const HIDDEN_MS = 30000;

function showConnection(state, text) {
  const place = byId('connection');
  if (!place || place.dataset.state === state) return;
  place.dataset.state = state;
  place.textContent = text;
}

/**
 * Calls `handlers[event](data, isPast)` for each event of `url`; past is what happened before.
 *
 * The browser asks again for what it missed while it retries by itself. After a gap it cannot
 * bridge, `handlers.reset` is called as for the server's own reset: load everything again. What
 * is past then comes again, and `handlers.reopened` is called before.
 */
export function listen(url, handlers) {
  let source = null;
  let hiddenTimer = null;

  const close = () => {
    source?.close();
    source = null;
  };

  const open = (afterGap) => {
    close();
    source = new EventSource(url);
    source.onopen = () => {
      showConnection('live', 'Live');
      if (afterGap) {
        handlers.reopened?.();
        handlers.reset();
      }
      afterGap = false;
    };
    source.onerror = () => {
      showConnection('lost', 'Connection lost, trying again');
      if (source?.readyState !== EventSource.CLOSED) return;
      close();
      setTimeout(() => source ?? open(true), RETRY_MS);
    };
    for (const [name, handle] of Object.entries(handlers)) {
      // Only what happens now has a number.
      source.addEventListener(name, (event) => handle(JSON.parse(event.data), event.lastEventId === ''));
    }
  };

  document.addEventListener('visibilitychange', () => {
    clearTimeout(hiddenTimer);
    if (document.hidden) hiddenTimer = setTimeout(close, HIDDEN_MS);
    else if (!source) open(true);
  });
  addEventListener('pagehide', close);
  // A page that comes back from the browser's memory has missed what happened meanwhile.
  addEventListener('pageshow', (event) => event.persisted && open(true));
  open(false);
}
