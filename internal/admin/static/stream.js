// The stream of readings, and the connection that carries it.

import { get, page } from './server.js';
import { set, state } from './state.js';
import { DAY } from './units.js';

const SILENCE = 25000; // a working connection carries a frame every 7 s at least, see stream.go
const RETRY = 3000;

let source = null;
let heardAt = 0; // or when it was tried last, in Unix milliseconds

// start connects and calls follow with every reading.
export function start(follow) {
  connect(follow);
  document.addEventListener('visibilitychange', () => {
    set({ hidden: document.hidden });
    if (document.hidden) disconnect(); // a browser has six connections for each host
    else connect(follow);
  });
  setInterval(() => {
    const patience = source.readyState === EventSource.CLOSED ? RETRY : SILENCE;
    if (!document.hidden && Date.now() - heardAt > patience) {
      disconnect();
      connect(follow);
    }
    set({});
  }, 1000);
}

function connect(follow) {
  source?.close();
  source = new EventSource('/stream');
  heardAt = Date.now();
  let first = true; // the first frame of a connection has all that is kept
  source.onopen = () => { first = true; };
  source.onmessage = (message) => {
    const frame = JSON.parse(message.data);
    if (frame.run !== page.run) { // another process, which refuses the tokens of this page
      location.reload();
      return;
    }
    heardAt = Date.now();
    const samples = first ? frame.samples : state.samples.concat(frame.samples);
    first = false;
    const since = (samples.at(-1)?.at ?? 0) - DAY * 1000;
    set({
      connected: true, lostAt: null, reading: frame.reading, measuredAt: heardAt - frame.age * 1000,
      samples: samples.filter((s) => s.at >= since),
    });
    if (frame.reading) follow(frame.reading);
  };
  source.onerror = () => {
    heardAt = Date.now();
    lose();
    if (source.readyState === EventSource.CLOSED) get('/events').catch(() => {}); // goes to the login when the session has ended
  };
}

function disconnect() {
  source.close();
  lose();
}

function lose() {
  set({ connected: false, lostAt: state.lostAt ?? new Date() });
}
