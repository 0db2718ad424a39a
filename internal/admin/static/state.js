// The one state of the page. Everything on the page is a function of it, and set is the
// only way to change it.

import { read } from './address.js';

export const state = {
  now: Date.now(),
  hidden: document.hidden, // the tab is in the background

  // Set by stream.js.
  connected: false,
  lostAt: null, // a Date, while there is no connection
  reading: null, // the last lag.Reading
  measuredAt: 0, // its time by the clock of the browser, in Unix milliseconds
  samples: [], // of the last day

  letters: {}, // set by letters.js
  events: {}, // set by events.js
  details: null, // the event or dead letter in the dialog; set by details.js
  overview: {}, // of the tables; set by lists.js
  entity: null, // that is shown; set by lists.js
  address: read(), // set by lists.js
};

let draw = () => {};

// onChange sets the function that draws the page.
export function onChange(f) {
  draw = f;
}

// set changes the state and draws the page before it returns.
export function set(change) {
  Object.assign(state, change, { now: Date.now() });
  draw(state);
}
