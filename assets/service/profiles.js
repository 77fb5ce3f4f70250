// Puts a chosen profile file into the text field, where it can be read before it is sent.

import { showFailure } from './announce.js';
import { byId } from './dom.js';

byId('profile-file').addEventListener('change', async ({ target }) => {
  const [file] = target.files;
  if (!file) return;
  try {
    byId('toml').value = await file.text();
    byId('toml').focus();
  } catch (error) {
    showFailure(`Could not read ${file.name}`, error);
  }
});
