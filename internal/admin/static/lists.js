// The lists of dead letters and events, and when they are loaded.

import { get } from './server.js';
import { set, state } from './state.js';

const REFRESH = 60000; // also when nothing changed: old events are deleted

export async function loadLetters() {
  try {
    set({ letters: await get('/letters') });
  } catch (error) {
    set({ letters: { ...state.letters, fault: error.message } });
  }
}

// wanted is the page of events that was requested last. An answer to an earlier
// request is dropped.
let wanted = { query: '', before: 0 }; // before is a sequence, 0 for the newest

export async function loadEvents(change) {
  const mine = wanted = { ...wanted, ...change };
  try {
    const list = await get(`/events?${mine.query}${mine.before ? `&before=${mine.before}` : ''}`);
    if (mine === wanted) set({ events: { ...mine, ...list } });
  } catch (error) {
    if (mine === wanted) set({ events: { ...state.events, fault: error.message } });
  }
}

// refreshEvents loads the newest events; a page of older ones is left as it is.
export function refreshEvents() {
  if (!wanted.before) loadEvents();
}

const refreshes = [
  { load: loadLetters, of: (r) => r.dead_letters },
  { load: refreshEvents, of: (r) => [r.event_log.events, r.event_log.bytes, r.last_event_received_at].join() },
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
