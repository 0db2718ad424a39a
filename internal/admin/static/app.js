// The dashboard: shows what the stream says, and asks for the rest. Text from the
// server becomes text on the page, never markup.
'use strict';

const $ = (id) => document.getElementById(id);
const meta = (name) => document.querySelector(`meta[name="clerksync-${name}"]`).content;
const run = meta('run');
const action = meta('action');
const canApply = meta('can-apply') === 'true';

// A reading older than this is not of now: they come every 5 seconds.
const OLD = 15;
const HOUR = 3600;

function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === 'class') node.className = value;
    else if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

function text(id, value) {
  if ($(id).textContent !== value) $(id).textContent = value;
}

// Facts of a dl: pairs of a name and a text; those without a text are left out.
function facts(dl, pairs) {
  dl.replaceChildren(...pairs.filter(([, value]) => value).map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value))));
}

// reconcile brings the rows of a table to a list and leaves those alone that stay, so
// that whoever is on one with the keyboard stays there.
function reconcile(body, items, key, make) {
  const there = new Map([...body.children].map((row) => [row.dataset.key, row]));
  items.forEach((item, i) => {
    const k = String(key(item));
    let row = there.get(k);
    there.delete(k);
    if (!row) {
      row = make(item);
      row.dataset.key = k;
    }
    if (body.children[i] !== row) body.insertBefore(row, body.children[i] ?? null);
  });
  for (const row of there.values()) row.remove();
}

// Numbers and times for a person.

const whole = new Intl.NumberFormat('en');
const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const minute = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', second: '2-digit' });

function count(n) {
  return n == null ? '–' : whole.format(n);
}

function plural(n, one, many) {
  return `${count(n)} ${n === 1 ? one : many}`;
}

function duration(seconds) {
  if (seconds == null) return '–';
  const s = Math.max(0, seconds);
  const two = (n, unit, m, smaller) => (m ? `${n} ${unit} ${m} ${smaller}` : `${n} ${unit}`);
  if (s > 0 && s < 0.9995) return `${Math.max(1, Math.round(s * 1000))} ms`;
  if (s < 9.95) return `${Number.isInteger(s) ? s : s.toFixed(1)} s`;
  const n = Math.round(s);
  if (n < 60) return `${n} s`;
  if (n < HOUR) return two(Math.floor(n / 60), 'min', n < 600 ? n % 60 : 0, 's');
  if (n < 24 * HOUR) return two(Math.floor(n / HOUR), 'h', Math.floor((n % HOUR) / 60), 'min');
  return two(Math.floor(n / 86400), 'd', Math.floor((n % 86400) / HOUR), 'h');
}

function ago(seconds) {
  return seconds < 1 ? 'just now' : `${duration(Math.round(seconds))} ago`;
}

function bytes(n) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let i = 0;
  for (; n >= 999.5 && i < units.length - 1; i++) n /= 1000;
  return `${i && n < 10 ? n.toFixed(1) : Math.round(n)} ${units[i]}`;
}

function rate(n) {
  if (n == null) return '–';
  return `${n > 0 && n < 10 ? n.toFixed(1) : count(Math.round(n))}/s`;
}

// when is a time of day, with the day unless it is today.
function when(time) {
  if (!time) return '–';
  const t = new Date(time);
  return t.toDateString() === new Date().toDateString() ? clock.format(t) : day.format(t);
}

function timeOf(time) {
  return el('time', { dateTime: time, title: time }, when(time));
}

function timeCell(time, name = 'time') {
  return el('td', { class: name }, timeOf(time));
}

// typeCell may be broken at the dot. On a narrow screen it has the time below.
function typeCell(type, time) {
  const [resource, act] = (type || 'not known').split('.');
  return el('td', {}, resource, ...(act ? ['.', el('wbr'), act] : []), el('span', { class: 'below' }, timeOf(time)));
}

// What the server is asked for.

async function api(path, method = 'GET') {
  let response;
  try {
    response = await fetch(path, { method, cache: 'no-store', headers: method === 'POST' ? { 'Clerksync-Action': action } : {} });
  } catch {
    throw new Error('clerksync cannot be reached');
  }
  if (response.status === 401) location.reload(); // to the login
  if (!response.ok) throw new Error((await response.text()).trim());
  return response.status === 204 ? null : response.json();
}

// The stream.

let source = null;
let connected = false;
let lostAt = null; // a Date, as long as there is no connection
let heardAt = 0; // when the stream said something, Unix milliseconds
let frame = null; // the last that came, with the time of its coming: { reading, age, at }
let samples = [];
let retrying = 0;

function connect() {
  clearTimeout(retrying);
  source?.close();
  const stream = new EventSource('/stream');
  source = stream;
  heardAt = Date.now();
  let first = true;
  stream.onopen = () => { first = true; };
  stream.onmessage = (message) => {
    const f = JSON.parse(message.data);
    if (f.run !== run) { // another process: its page and its tokens are others
      location.reload();
      return;
    }
    connected = true;
    lostAt = null;
    heardAt = Date.now();
    samples = first ? f.samples : samples.concat(f.samples);
    first = false;
    const since = (samples.at(-1)?.at ?? 0) - HOUR * 1000;
    samples = samples.filter((s) => s.at >= since);
    frame = { reading: f.reading, age: f.age, at: Date.now() };
    render();
  };
  stream.onerror = () => {
    lose();
    if (stream.readyState !== EventSource.CLOSED) return; // it tries again by itself
    clearTimeout(retrying);
    retrying = setTimeout(connect, 3000);
    loadEvents().catch(() => {}); // tells whether the session has ended
  };
}

function lose() {
  connected = false;
  lostAt ??= new Date();
  tick();
}

// A page that nobody sees holds no connection: a browser has six for each host.
document.addEventListener('visibilitychange', () => {
  if (document.hidden) {
    clearTimeout(retrying);
    source?.close();
    lose();
  } else {
    connect();
    tick();
  }
});

setInterval(() => {
  if (!document.hidden && source?.readyState === EventSource.OPEN && Date.now() - heardAt > 25000) {
    lose(); // the connection is there and nothing comes
    connect();
  }
  tick();
}, 1000);

// The verdict, and how old it is.

const WORDS = { in_step: 'In step', silent: 'Silent', behind: 'Behind', stuck: 'Stuck', unknown: 'Unknown' };
let shown = null; // what was announced last

function age() {
  return frame?.reading ? frame.age + (Date.now() - frame.at) / 1000 : null;
}

// reason is the verdict without the word that stands above it.
function reason(reading) {
  let why = reading.verdict.replace(/^(in step|silent|stuck|unknown)(: |; |$)/i, '');
  if (!why && reading.state === 'in_step') why = reading.dead_letters > 0 ? 'all that can be applied is in the tables' : 'all that was received is in the tables';
  return why && why[0].toUpperCase() + why.slice(1) + (/[.?!]$/.test(why) ? '' : '.');
}

function tick() {
  const reading = frame?.reading;
  const seconds = age();
  const old = Boolean(reading) && (!connected || seconds > OLD);
  const waiting = !reading;
  const word = waiting ? 'Measuring…' : WORDS[reading.state] ?? reading.state;
  document.body.classList.toggle('old', old || !connected);

  const measured = reading && when(reading.measured_at);
  let banner = '';
  if (lostAt && !document.hidden) {
    banner = `The connection is lost since ${when(lostAt)}, and is tried again. `;
    banner += reading ? `What is shown was measured at ${measured}, ${ago(seconds)}.` : 'Nothing was measured yet.';
  } else if (old) {
    banner = `Nothing was measured since ${measured}, ${ago(seconds)}: what is shown is old.`;
  }
  $('banner').hidden = !banner;
  text('banner', banner);
  $('live').classList.toggle('on', connected && !old && !waiting);
  let live = 'Connecting…';
  if (lostAt) live = 'Not connected';
  else if (old) live = 'Old';
  else if (connected) live = waiting ? 'Connected' : `Live, ${ago(seconds)}`;
  text('live', live);

  const state = waiting ? 'measuring' : old ? 'old' : reading.state;
  $('verdict').dataset.state = state;
  $('icon').setAttribute('href', `#icon-${state in WORDS ? state : 'unknown'}`);
  text('state', old ? 'Not known' : word);
  let why = waiting ? '' : reason(reading);
  if (old) why = `Last known, ${ago(seconds)}: ${word.toLowerCase()}. ${why}`;
  text('why', why);
  document.title = document.hidden ? 'clerksync' : `${old ? 'Not known' : word} · clerksync`;

  if (state !== shown) { // said aloud when it changes, and only then
    if (shown && shown !== 'measuring') text('announce', old ? banner : `${word}. ${why}`);
    shown = state;
  }
}

// The figures.

function render() {
  tick();
  const r = frame.reading;
  if (!r) return;
  text('pending', count(r.pending));
  text('pending-note', r.pending ? `${count(r.in_work)} of them in work` : r.pending === 0 ? 'nothing waits' : 'not known');
  text('oldest', r.pending === 0 ? '–' : duration(r.oldest_pending_age_seconds));
  text('oldest-note', !r.pending ? '' : r.seconds_left != null ? `about ${duration(r.seconds_left)} left` : 'in the log');
  text('end', duration(r.end_to_end_seconds?.p50));
  text('end-note', r.end_to_end_seconds ? `p50; p99 is ${duration(r.end_to_end_seconds.p99)}` : 'not known');
  const silence = r.silence;
  text('silence', silence ? duration(silence.seconds) : '–');
  text('silence-note', r.last_event_received_at ? `ago, at ${when(r.last_event_received_at)}` : 'none was received yet');
  text('dead', count(r.dead_letters));
  text('dead-note', r.dead_letters ? 'look at them below' : '');
  $('dead').classList.toggle('bad', r.dead_letters > 0);

  $('warnings').hidden = !r.warnings?.length;
  $('warnings').replaceChildren(...(r.warnings ?? []).map((warning) => el('li', {}, warning)));

  $('hops').replaceChildren(...[
    ['Delivery', r.delivery_seconds], ['Queue', r.queue_seconds], ['End to end', r.end_to_end_seconds],
  ].map(([name, q]) => el('tr', {},
    el('th', { scope: 'row' }, name),
    ...[duration(q?.p50), duration(q?.p99), count(q?.events)].map((value) => el('td', { class: 'number' }, value)))));
  facts($('rates'), [['Stored', rate(r.stored_per_second)], ['Applied', rate(r.applied_per_second)], ['Until nothing waits', r.pending ? duration(r.seconds_left) : '–']]);

  renderWorkers(r);
  renderNeighbours(r);
  refreshLists(r);
  for (const chart of charts) chart.draw(samples);
}

function renderWorkers(r) {
  reconcile($('workers-rows'), r.workers ?? [], (w) => JSON.stringify(w), (w) => el('tr', {},
    el('td', { class: 'id' }, w.name),
    w.failing || w.outage
      ? el('td', { class: 'failing' }, `Failing since ${when((w.failing || w.outage).since)}: ${(w.failing || w.outage).reason}`)
      : el('td', {}, w.appliers_busy ? 'At work' : 'Waits for events'),
    el('td', { class: 'number' }, `${w.appliers_busy} of ${w.appliers}`),
    el('td', { class: 'number wide' }, count(w.applied)),
    timeCell(w.started_at, 'time wide'),
    el('td', { class: 'wide' }, w.version)));
  const some = Boolean(r.workers?.length);
  $('workers-rows').closest('.scroll').hidden = !some;
  $('workers-empty').hidden = some;
  text('workers-empty', r.workers ? 'No worker answers: nothing is applied.' : 'The workers could not be asked.');
}

function health(id, ok, words) {
  text(id, words);
  $(id).className = `health ${ok == null ? '' : ok ? 'good' : 'bad'}`;
}

function renderNeighbours(r) {
  const log = r.event_log;
  health('log-health', log.ok, log.ok ? 'Well' : log.error || 'Not well');
  facts($('log-facts'), log.ok ? [
    ['Events', count(log.events ?? 0)],
    ['Size', bytes(log.bytes ?? 0)],
    ['Limit', log.max_bytes ? bytes(log.max_bytes) : 'none but the disk'],
  ] : []);
  $('log-meter').replaceChildren(...(log.ok && log.max_bytes ? [el('meter', {
    min: 0, max: log.max_bytes, low: log.max_bytes * 0.7, high: log.max_bytes * 0.9, optimum: 0, value: log.bytes ?? 0,
    'aria-label': 'How full the event log is',
  })] : []));

  const pg = r.postgresql;
  health('postgresql-health', pg?.ok, !pg ? 'Not used by this process' : pg.ok ? 'Well' : pg.error || 'Not well');
  text('postgresql-note', pg ? '' : 'Lags are measured where it is: on the dashboard of a worker.');

  const s = r.silence;
  const silent = s?.limit_seconds != null && s.seconds > s.limit_seconds;
  health('silence-health', s ? !silent : null, !s ? 'Nothing was received yet' : silent ? 'Longer than is usual' : s.limit_seconds == null ? 'Still learning what is usual' : 'As usual');
  facts($('silence-facts'), s ? [
    ['Since the last event', duration(s.seconds)],
    ['Usual gap', s.usual_gap_seconds == null ? 'not known yet' : duration(s.usual_gap_seconds)],
    ['Longest gap', s.longest_gap_seconds == null ? 'not known yet' : duration(s.longest_gap_seconds)],
    ['Called silent after', s.limit_seconds == null ? 'not known yet' : duration(s.limit_seconds)],
  ] : []);
}

// The charts.

const dark = matchMedia('(prefers-color-scheme: dark)');
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// STEPS are the marks of an axis of lags, far apart as on a logarithmic one, AGES
// and COUNTS the distances of marks on a plain axis. Times are in seconds.
const STEPS = [0.001, 0.01, 0.1, 1, 10, 60, 600, HOUR, 6 * HOUR, 24 * HOUR, 240 * HOUR, 2400 * HOUR];
const AGES = [0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, HOUR, 2 * HOUR, 6 * HOUR, 12 * HOUR, 24 * HOUR, 240 * HOUR];
const COUNTS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].flatMap((n) => [1, 2, 5].map((m) => m * 10 ** n));

// around are the two steps between which all values lie.
function around(min, max) {
  if (min == null) return [0.01, 1];
  const low = STEPS.findLast((step) => step <= min) ?? STEPS[0];
  return [low, STEPS.find((step) => step >= max && step > low) ?? max];
}

// Chart draws lines over the samples. lines(samples) returns what to draw: a label, a
// function from a sample to a number or null, a colour, and how: filled; with the line
// before it in the legend, and thinner; on an axis of its own at the right, whose texts
// are right(value).
class Chart {
  constructor(id, { lines, value, axis, incrs, log = false, empty }) {
    Object.assign(this, { box: $(id).querySelector('.chart'), lines, value, axis, incrs, log, empty });
    new ResizeObserver(() => this.plot?.setSize({ width: this.box.clientWidth, height: 208 })).observe(this.box);
    dark.addEventListener('change', () => { this.forget(); this.draw(samples); });
  }

  forget() {
    this.plot?.destroy();
    this.plot = null;
    this.labels = null;
  }

  draw(samples) {
    const lines = this.lines(samples);
    const data = [[], ...lines.map(() => [])];
    let before = null;
    for (const s of samples) {
      if (before && s.at - before > 20000) { // nothing was measured: no line leads over it
        data.forEach((row, i) => row.push(i ? null : (before + 1) / 1000));
      }
      before = s.at;
      data[0].push(s.at / 1000);
      lines.forEach((line, i) => {
        const v = line.of(s);
        data[i + 1].push(v == null ? null : this.log ? Math.max(v, 0.001) : v);
      });
    }
    if (!lines.length || !data.slice(1).some((row) => row.some((v) => v != null))) {
      this.forget();
      this.box.replaceChildren(el('p', { class: 'empty' }, this.empty(samples)));
      return;
    }
    const labels = lines.map((line) => line.label).join();
    if (this.labels !== labels) {
      this.forget();
      this.box.replaceChildren();
      this.plot = this.make(lines, data);
      this.labels = labels;
    } else {
      this.plot.setData(data);
    }
    this.latest();
  }

  // latest has the legend show the last figures while nobody points at others.
  latest() {
    const u = this.plot;
    if (u && u.cursor.idx == null) u.setLegend({ idx: u.data[0].length - 1 });
  }

  make(lines, data) {
    const stroke = css('--muted');
    const grid = { stroke: css('--grid'), width: 1 };
    const range = (u, min, max) => [0, max > 0 ? max * 1.1 : 1];
    const y = this.log
      ? { splits: (u, i, min, max) => STEPS.filter((step) => step >= min && step <= max), filter: (u, splits) => splits }
      : this.incrs ? { incrs: this.incrs } : {};
    return new uPlot({
      width: this.box.clientWidth,
      height: 208,
      cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false }, sync: { key: 'clerksync' } },
      scales: {
        x: { time: true, range: (u) => [Math.min(u.data[0][0], u.data[0].at(-1) - 300), u.data[0].at(-1)] },
        y: this.log ? { distr: 3, range: (u, min, max) => around(min, max) } : { range },
        right: { range },
      },
      axes: [
        { stroke, grid: { show: false }, ticks: grid, space: 70, values: (u, splits) => splits.map((v) => minute.format(v * 1000)) },
        { stroke, grid, ticks: { show: false }, size: 58, values: (u, splits) => splits.map((v) => (v == null ? '' : this.axis(v))), ...y },
        ...lines.filter((line) => line.right).map((line) => ({
          scale: 'right', side: 1, stroke, grid: { show: false }, ticks: { show: false }, size: 58, incrs: AGES, values: (u, splits) => splits.map(line.right),
        })),
      ],
      series: [
        { label: 'At', value: (u, v) => (v == null ? '–' : clock.format(v * 1000)) },
        ...lines.map((line) => ({
          label: line.label,
          scale: line.right ? 'right' : 'y',
          class: line.with ? 'with' : null, // has no place of its own in the legend
          stroke: css(line.colour) + (line.wide ? '66' : ''),
          fill: line.filled ? `${css(line.colour)}2e` : undefined,
          width: line.wide ? 5 : line.with ? 1.25 : 2,
          dash: line.with ? [4, 3] : undefined,
          points: { show: true, size: 4, filter: alone },
          value: (u, v, i, at) => (v == null ? '–' : (line.right ?? this.value)(v) + (lines[i]?.with ? `, p50 ${this.value(u.data[i + 1][at])}` : '')),
        })),
      ],
      hooks: { setCursor: [() => this.latest()] },
    }, data, this.box);
  }
}

// alone are the points of which nothing is seen otherwise: those with no neighbours.
function alone(u, i) {
  const row = u.data[i];
  return row.flatMap((v, at) => (v != null && row[at - 1] == null && row[at + 1] == null ? [at] : []));
}

// outcomes draws one line for each outcome that there was, and always the first.
function outcomes(name, all) {
  return (samples) => samples.some((s) => s[name])
    ? all.filter(([outcome], i) => i === 0 || samples.some((s) => s[name]?.[outcome] > 0))
      .map(([outcome, colour]) => ({ label: outcome.replace('_', ' '), colour, of: (s) => (s[name] ? s[name][outcome] ?? 0 : null) }))
    : [];
}

const fewer = (samples) => samples.length < 2;
const perSecond = (v) => (v > 0 && v < 10 ? String(+v.toFixed(2)) : count(Math.round(v)));
const charts = [
  new Chart('lag-chart', {
    log: true, value: duration, axis: duration,
    lines: () => [['End to end', 'end_to_end', '--series-3'], ['Delivery', 'delivery', '--series-1'], ['Queue', 'queue', '--series-2']].flatMap(([name, key, colour]) => [
      { label: `${name} p99`, colour, wide: key === 'end_to_end', of: (s) => s[key]?.[1] }, // the others lie on it
      { label: `${name} p50`, colour, with: true, of: (s) => s[key]?.[0] }, // shown with the one before
    ]),
    empty: () => (frame?.reading?.postgresql ? 'Nothing was applied in the last hour.' : 'Measured where PostgreSQL is used: on the dashboard of a worker.'),
  }),
  new Chart('waiting-chart', {
    value: count, axis: count, incrs: COUNTS,
    lines: () => [
      { label: 'Pending', colour: '--series-1', filled: true, of: (s) => s.pending },
      { label: 'Age of the oldest', colour: '--series-2', right: duration, of: (s) => s.oldest },
    ],
    empty: () => 'What waits is not known.',
  }),
  new Chart('received-chart', {
    value: perSecond, axis: perSecond,
    lines: outcomes('received', [
      ['stored', '--series-1'], ['duplicate', '--series-6'], ['ignored', '--series-4'], ['parked', '--series-7'], ['unauthorized', '--series-5'],
      ['unavailable', '--series-2'], ['busy', '--series-3'], ['broken', '--series-6'], ['too_large', '--series-7'], ['method', '--series-4'],
    ]),
    empty: (samples) => (fewer(samples) ? 'Two readings make a rate: in a few seconds.' : 'This process does not receive. Its receivers have their own dashboards.'),
  }),
  new Chart('applied-chart', {
    value: perSecond, axis: perSecond,
    lines: outcomes('applied', [
      ['applied', '--series-4'], ['stale', '--series-7'], ['duplicate', '--series-6'], ['ignored', '--series-1'], ['dead', '--series-5'],
    ]),
    empty: (samples) => (fewer(samples) ? 'Two readings make a rate: in a few seconds.' : 'This process applies nothing. Workers have their own dashboards.'),
  }),
];

// The lists: read again when the reading tells that something changed, and once a
// minute.

const lists = {
  letters: { of: null, at: 0, load: () => loadLetters() },
  events: { of: null, at: 0, load: () => (page ? null : loadEvents()) },
};

function refresh(list, of) {
  if (list.of === of && Date.now() - list.at < 60000) return;
  list.of = of;
  list.at = Date.now();
  list.load();
}

function refreshLists(r) {
  refresh(lists.letters, String(r.dead_letters));
  refresh(lists.events, JSON.stringify([r.event_log.events, r.event_log.bytes, r.last_event_received_at]));
}

function fault(id, error) {
  $(id).hidden = !error;
  text(id, error ? error.message : '');
}

async function loadLetters() {
  let list;
  try {
    list = await api('/letters');
    fault('letters-fault');
  } catch (error) {
    fault('letters-fault', error);
    return;
  }
  $('letters-empty').hidden = list.total > 0;
  $('letters-more').hidden = list.listed >= list.total;
  text('letters-more', `The last ${count(list.listed)} of ${count(list.total)}. clerksync dead ls has all of them.`);
  reconcile($('letters-groups'), list.reasons, (group) => group.reason, (group) => el('div', { class: 'reason' },
    el('h3', {}, `${group.reason.replace('_', ' ')} `, el('span', { class: 'count' })),
    el('p', { class: 'note' }, group.meaning),
    el('div', { class: 'scroll' }, el('table', {},
      el('caption', { class: 'hidden' }, `Dead letters parked as ${group.reason.replace('_', ' ')}`),
      el('thead', {}, el('tr', {},
        el('th', { scope: 'col', class: 'number' }, 'Seq'), el('th', { scope: 'col' }, 'Type'), el('th', { scope: 'col', class: 'wide' }, 'Entity'),
        el('th', { scope: 'col', class: 'wide' }, 'Parked'), el('th', { scope: 'col', class: 'number wide' }, 'Tried'),
        el('th', { scope: 'col' }, el('span', { class: 'hidden' }, 'Action')))),
      el('tbody')))));
  list.reasons.forEach((group, i) => {
    const box = $('letters-groups').children[i];
    box.querySelector('.count').textContent = `· ${count(group.letters.length)}`;
    reconcile(box.querySelector('tbody'), group.letters, (l) => l.seq, (l) => el('tr', {},
      el('td', { class: 'number' }, String(l.seq)),
      typeCell(l.type, l.last_at),
      el('td', { class: 'id wide' }, l.entity || '–'),
      timeCell(l.last_at, 'time wide'),
      el('td', { class: 'number wide' }, String(l.attempts)),
      el('td', { class: 'action' }, el('button', { type: 'button', 'aria-label': `Look at dead letter ${l.seq}`, onclick: () => lookAtLetter(l.seq) }, 'Look'))));
  });
}

let wanted = ''; // the filter, as a query
let page = 0; // the sequence before which is listed, 0 for the newest
let asked = 0;

async function loadEvents() {
  const mine = ++asked;
  let list;
  try {
    list = await api(`/events?${wanted}${page ? `&before=${page}` : ''}`);
  } catch (error) {
    if (mine === asked) fault('events-fault', error);
    return;
  }
  if (mine !== asked) return; // something else was asked for meanwhile
  fault('events-fault');
  reconcile($('events-rows'), list.events, (e) => e.seq, (e) => el('tr', {},
    el('td', { class: 'number' }, String(e.seq)),
    typeCell(e.type, e.stored_at),
    el('td', { class: 'id wide' }, e.entity || '–'),
    timeCell(e.stored_at, 'time wide'),
    el('td', { class: 'number wider' }, e.origin === 'webhook' && e.event_at && e.received_at ? duration((Date.parse(e.received_at) - Date.parse(e.event_at)) / 1000) : '–'),
    el('td', { class: 'wider' }, e.origin || '–'),
    el('td', { class: 'action' }, el('button', { type: 'button', 'aria-label': `Look at event ${e.seq}`, onclick: () => lookAtEvent(e.seq) }, 'Look'))));
  const none = !list.events.length;
  $('events-rows').closest('.scroll').hidden = none;
  $('events-empty').hidden = !none;
  text('events-empty', !none ? '' : wanted ? 'No stored event is like that.' : page ? 'There are no older ones.' : 'Nothing was stored yet.');
  $('older').hidden = !list.more;
  $('newest').hidden = !page;
}

$('filter').addEventListener('submit', (event) => {
  event.preventDefault();
  const query = new URLSearchParams([...new FormData($('filter'))].map(([name, value]) => [name, value.trim()]).filter(([, value]) => value));
  wanted = query.toString();
  page = 0;
  loadEvents();
});
$('filter').addEventListener('reset', () => {
  wanted = '';
  page = 0;
  loadEvents();
});
$('older').addEventListener('click', async () => {
  page = Number($('events-rows').lastElementChild.dataset.key);
  await loadEvents();
  $('events-title').focus();
});
$('newest').addEventListener('click', async () => {
  page = 0;
  await loadEvents();
  $('events-title').focus();
});

// One event or dead letter, in the dialog.

const dialog = $('look');
let opener = null;
let looking = null; // { path, home }

function look(path, title, home) {
  opener = document.activeElement;
  looking = { path, home };
  text('look-title', title);
  $('look-meaning').hidden = $('look-confirm').hidden = $('look-body').hidden = true;
  $('look-facts').replaceChildren();
  $('look-actions').replaceChildren();
  $('look-body').querySelector('pre').textContent = '';
  result('');
  dialog.showModal();
  $('look-title').focus();
  return api(path).catch((error) => {
    result(error.message, true);
    return null;
  });
}

function result(words, bad = false) {
  text('look-result', words);
  $('look-result').classList.toggle('bad', bad);
}

function close() {
  dialog.close();
}

dialog.addEventListener('close', () => {
  $('look-body').querySelector('pre').textContent = ''; // it may be about a person
  if (opener?.isConnected) opener.focus();
  else $(looking.home).focus(); // what was looked at is gone
});
dialog.addEventListener('click', (event) => {
  if (event.target === dialog) { // or its backdrop
    const box = dialog.getBoundingClientRect();
    if (event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom) close();
  }
});
$('look-close').addEventListener('click', close);

function eventFacts(e) {
  return [
    ['Type', e.type || 'not known'], ['Entity', e.entity], ['User', e.user !== e.entity && e.user], ['Organization', e.org !== e.entity && e.org],
    ['Emitted by Clerk', e.event_at && when(e.event_at)], ['Received', e.received_at && when(e.received_at)], ['Origin', e.origin],
    ['Svix id', e.svix_id], ['Body', plural(e.bytes, 'byte', 'bytes')],
  ];
}

async function lookAtEvent(seq) {
  const e = await look(`/events/${seq}`, `Event ${seq}`, 'events-title');
  if (!e || looking.path !== `/events/${seq}`) return;
  const [type, entity, user, org, emitted, received, ...rest] = eventFacts(e);
  facts($('look-facts'), [type, entity, user, org, emitted, received, ['Stored', when(e.stored_at)], ...rest]);
  $('look-actions').append(bodyButton());
  if (canApply) $('look-actions').prepend(actButton('Replay it', 'replay'));
  else without('It cannot be replayed from here');
}

async function lookAtLetter(seq) {
  const l = await look(`/letters/${seq}`, `Dead letter ${seq}`, 'letters-title');
  if (!l || looking.path !== `/letters/${seq}`) return;
  text('look-meaning', l.meaning);
  $('look-meaning').hidden = !l.meaning;
  facts($('look-facts'), [
    ['Reason', l.reason.replace('_', ' ')], ['Error', l.error], ['Tried', plural(l.attempts, 'time', 'times')],
    ['First parked', when(l.first_at)], ['Last', l.last_at !== l.first_at && when(l.last_at)],
    ['In the log', l.log_seq ? `as event ${l.log_seq}` : 'never there: it was parked on its arrival'], ...eventFacts(l),
  ]);
  text('look-question', l.log_seq
    ? `Delete dead letter ${seq} for good? Its event stays in the log as ${l.log_seq} for as long as the log keeps it.`
    : `Delete dead letter ${seq} for good? Its event is nowhere else: it was parked on its arrival.`);
  $('look-actions').append(bodyButton(), el('button', {
    type: 'button', class: 'danger', id: 'look-discard', onclick: () => {
      $('look-confirm').hidden = false;
      $('look-no').focus();
    },
  }, 'Discard…'));
  if (canApply) $('look-actions').prepend(actButton('Retry it', 'retry'));
  else without('It cannot be retried from here');
}

function without(what) {
  result(`${what}: this process has no database. The dashboard of a worker can, and the command line.`);
}

function actButton(label, name) {
  return el('button', { type: 'button', class: 'primary', onclick: () => act(name) }, label);
}

$('look-yes').addEventListener('click', () => act('discard'));
$('look-no').addEventListener('click', () => {
  $('look-confirm').hidden = true;
  $('look-discard').focus();
});

async function act(name) {
  const buttons = dialog.querySelectorAll('.buttons button');
  const path = looking.path;
  buttons.forEach((button) => { button.disabled = true; });
  result('…');
  try {
    const done = await api(`${path}/${name}`, 'POST');
    if (looking.path !== path) return;
    result(done.text, done.outcome === 'dead');
    $('look-confirm').hidden = true;
    if (name !== 'replay') $('look-actions').replaceChildren(); // it is not there any more
  } catch (error) {
    if (looking.path === path) result(error.message, true);
  } finally {
    buttons.forEach((button) => { button.disabled = false; });
    if (dialog.open && !dialog.contains(document.activeElement)) $('look-close').focus();
    lists.letters.load();
    lists.events.load();
  }
}

function bodyButton() {
  const button = el('button', { type: 'button', onclick: show }, 'Show the body');
  async function show() {
    const path = looking.path;
    try {
      const body = await api(`${path}/body`);
      if (looking.path !== path || !dialog.open) return;
      const pre = $('look-body').querySelector('pre');
      pre.textContent = body.text || '(nothing)';
      text('look-body-title', `Body${body.json ? '' : ', which is not JSON'}${body.cut ? ', its beginning' : ''}`);
      $('look-body').hidden = false;
      button.remove();
      pre.focus();
    } catch (error) {
      result(error.message, true);
    }
  }
  return button;
}

$('logout')?.addEventListener('click', async () => {
  await api('/logout', 'POST').catch(() => {});
  location.assign('/login');
});

connect();
tick();
