// Requests to the HTTP API; a refusal becomes an Error with the server's words.

/** The sentence of a problem document, or what can be said without one. */
export function problemText(status, text) {
  try {
    const { title, detail } = JSON.parse(text);
    return detail || title || `the server answered ${status}`;
  } catch {
    return `the server answered ${status}`;
  }
}

async function call(method, path, body) {
  const request = { method, headers: { accept: 'application/json' } };
  if (body !== undefined) {
    request.headers['content-type'] = 'application/json';
    request.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(`/api/v1${path}`, request);
  } catch {
    throw new Error('the server cannot be reached');
  }
  if (response.status === 401) {
    // The token ran out: sign in and come back here.
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
  if (!response.ok) throw new Error(problemText(response.status, await response.text()));
  return response.status === 204 ? null : response.json().catch(() => null);
}

export const get = (path) => call('GET', path);
export const post = (path) => call('POST', path);
export const patch = (path, body) => call('PATCH', path, body);
export const remove = (path) => call('DELETE', path);
