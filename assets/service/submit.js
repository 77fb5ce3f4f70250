// Sends a model to the service while the form is filled in, then selects it.

import { announce } from './announce.js';
import { problemText } from './api.js';
import { byId, el } from './dom.js';

const input = byId('model-file');
const bar = byId('upload');
const status = byId('upload-status');
const send = byId('submit').querySelector('button[type=submit]');

function select(id, name) {
  const models = byId('model');
  let option = [...models.options].find((known) => known.value === id);
  if (!option) {
    option = el('option', { value: id }, `${name} (uploaded)`);
    models.append(option);
  }
  models.value = id;
}

function fail(text) {
  status.textContent = `Not uploaded: ${text}`;
  status.classList.add('field-error');
}

function finish(request, name) {
  if (request.status !== 201 && request.status !== 200) {
    fail(problemText(request.status, request.responseText));
    return;
  }
  select(JSON.parse(request.responseText).id, name);
  status.textContent = `${name} is here and selected.`;
  announce(`${name} is uploaded and selected`);
}

function upload(file) {
  // fetch tells nothing of how far an upload is.
  const request = new XMLHttpRequest();
  request.open('POST', `/api/v1/models?name=${encodeURIComponent(file.name)}`);
  request.setRequestHeader('content-type', 'application/octet-stream');
  request.upload.addEventListener('progress', ({ loaded, total }) => {
    bar.value = loaded / total;
  });
  request.addEventListener('load', () => finish(request, file.name));
  request.addEventListener('error', () => fail('the server cannot be reached'));
  request.addEventListener('loadend', () => {
    bar.hidden = true;
    send.disabled = false;
  });
  status.classList.remove('field-error');
  status.textContent = `Uploading ${file.name}…`;
  bar.value = 0;
  bar.hidden = false;
  // Sent now, the form would name another model.
  send.disabled = true;
  request.send(file);
}

input.addEventListener('change', () => input.files.length > 0 && upload(input.files[0]));
