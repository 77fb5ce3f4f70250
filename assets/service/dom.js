// Elements made in script: text only, never markup, so nothing needs escaping.

/** `el('td', { class: 'left', colSpan: 2 }, 'text', node)`; names with a dash and class, role, scope, for become attributes. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'class' || name === 'role' || name === 'scope' || name === 'for' || name.includes('-')) {
      element.setAttribute(name, value === true ? '' : value);
    } else {
      element[name] = value;
    }
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Calls `action` at most once in `wait_ms`, the last time never lost. */
export function throttled(action, wait_ms) {
  let timer = null;
  let last = -Infinity;
  return () => {
    if (timer !== null) return;
    const wait = Math.max(0, last + wait_ms - performance.now());
    timer = setTimeout(() => {
      timer = null;
      last = performance.now();
      action();
    }, wait);
  };
}
