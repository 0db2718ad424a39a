// The lists of dead letters and events, the overview of the tables and the entity that is
// shown, and when they are loaded.

import { read, write } from './address.js';
import { get, page, post } from './server.js';
import { set, state } from './state.js';

const REFRESH = 60000; // also when nothing changed: old events are deleted

export async function loadLetters() {
  try {
    set({ letters: await get('/letters') });
  } catch (error) {
    set({ letters: { ...state.letters, fault: error.message } });
  }
}

async function loadOverview() {
  if (page.canApply) set({ overview: await get('/overview').catch(() => ({})) }); // the card of PostgreSQL says why
}

// go changes fields of the address, and loads what they name.
export function go(change) {
  write(change);
  return arrive(Object.keys(change));
}

// arrive loads what has changed in the address, and what the named fields are about.
export function arrive(named = []) {
  const before = state.address;
  const address = read();
  set({ address });
  const changed = (...names) => names.some((name) => named.includes(name) || address[name] !== before[name]);
  return Promise.all([changed('type', 'user', 'org', 'before') && loadEvents(), changed('entity') && loadEntity()]);
}

// An answer is dropped when the address names something else by now.
async function loadEvents() {
  const { type, user, org, before } = state.address;
  const query = new URLSearchParams(Object.entries({ type, user, org, before }).filter(([, value]) => value)).toString();
  const still = () => ['type', 'user', 'org', 'before'].every((name) => state.address[name] === { type, user, org, before }[name]);
  try {
    const list = await get(`/events?${query}`);
    if (still()) set({ events: list });
  } catch (error) {
    if (still()) set({ events: { ...state.events, fault: error.message } });
  }
}

async function loadEntity() {
  const id = state.address.entity;
  if (!id) {
    set({ entity: null }); // it is forgotten: it may be personal data
    return;
  }
  if (state.entity?.id !== id) set({ entity: { id } });
  const entity = await get(`/entities/${encodeURIComponent(id)}`).catch((error) => ({ id, fault: error.message }));
  if (state.address.entity === id) set({ entity });
}

// openEntity shows an entity, and closes the dialog.
export async function openEntity(id) {
  document.getElementById('details').close();
  await go({ entity: id });
  document.getElementById('entity-title')?.focus();
}

// find returns the ids of what has a name.
export const find = (name) => post('/find', { name });

// refresh loads what an action may have changed. A page of older events is left as it is.
export function refresh() {
  if (!state.address.before || !state.events.events) loadEvents();
  if (state.address.entity) loadEntity();
  loadOverview();
}

const refreshes = [
  { load: loadLetters, of: (r) => r.dead_letters },
  { load: refresh, of: (r) => [r.event_log.events, r.event_log.bytes, r.last_event_received_at, r.pending, r.dead_letters].join() },
];

// follow loads the lists that a reading tells have changed.
export function follow(reading) {
  for (const refresh of refreshes) {
    const of = refresh.of(reading);
    if (of === refresh.last && Date.now() - refresh.at < REFRESH) continue;
    Object.assign(refresh, { last: of, at: Date.now() });
    refresh.load();
  }
}
