// The server: the facts it wrote into the page, and requests to it.

const meta = (name) => document.querySelector(`meta[name="clerksync-${name}"]`).content;

export const page = {
  run: meta('run'),
  version: meta('version'),
  endpoint: meta('endpoint'), // URL of the webhook, '' when it is not known
  canApply: meta('can-apply') === 'true',
  canLogOut: meta('can-log-out') === 'true',
  outcomes: { received: meta('received').trim().split(' '), applied: meta('applied').trim().split(' ') },
};

async function request(path, options) {
  const response = await fetch(path, { cache: 'no-store', ...options }).catch(() => {
    throw new Error('clerksync cannot be reached');
  });
  if (response.status === 401) location.reload(); // to the login
  if (!response.ok) throw new Error((await response.text()).trim());
  return response.status === 204 ? null : response.json();
}

export const get = (path) => request(path);
export const post = (path, fields) => request(path, { method: 'POST', headers: { 'Clerksync-Action': meta('action') }, body: fields && new URLSearchParams(fields) });

export async function logOut() {
  await post('/logout').catch(() => {});
  location.assign('/login');
}
