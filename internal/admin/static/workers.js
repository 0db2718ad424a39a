// The processes, and what they depend on.

import { Facts, Fix, Section, Table, Time } from './parts.js';
import { html } from './preact/standalone.module.js';
import { rows } from './tables.js';
import { bytes, capital, count, duration, plural, when, words } from './units.js';
import { faults } from './verdict.js';

const process = [
  ['Since', 'time wide', (w) => html`<${Time} at=${w.started_at}/>`],
  ['Version', 'wide', (w) => w.version],
];

const workers = [
  ['Worker', 'id', (w) => w.name],
  ['State', '', (w) => doing(w)],
  ['Busy', 'number', (w) => `${w.appliers_busy} of ${w.appliers}`],
  ['Applied', 'number wide', (w) => count(w.applied)],
  ...process,
];

const receivers = [
  ['Receiver', 'id', (d) => d.name],
  ['State', '', (d) => taking(d)],
  ['Instance', 'id wide', (d) => d.instance_id || 'any'],
  ...process,
];

function doing(worker) {
  const failure = worker.failing ?? worker.outage;
  if (failure) return html`<span class="failing">Failing since ${when(failure.since)}: ${failure.reason}</span>`;
  return worker.appliers_busy ? 'Applying' : 'Waiting for events';
}

function taking({ refused: r }) {
  if (!r) return 'Takes deliveries';
  return html`<span class="failing">Refused ${plural(r.count, 'delivery', 'deliveries')} since ${when(r.since)}, the last at ${when(r.last_at)}: ${words(r.reason)}</span>`;
}

export function Workers({ reading, overview }) {
  return html`<${Section} id="workers" title="Processes and dependencies">${reading && html`
    <div class="card">
      <${List} id="workers-rows" name="worker" columns=${workers} all=${reading.workers} none="No worker answers: nothing is applied."/>
      <${Faults} of=${faults(reading, 'no_worker', 'not_applying')}/>
      <${List} id="receivers-rows" name="receiver" columns=${receivers} all=${reading.receivers} none="No receiver answers."/>
      <${Faults} of=${faults(reading, 'secret', 'clock', 'unavailable', 'refused', 'wrong_instance')}/>
    </div>
    <div class="grid three">
      <${EventLog} reading=${reading}/>
      <${PostgreSQL} reading=${reading} overview=${overview}/>
      <${Silence} reading=${reading}/>
      <${Probe} reading=${reading}/>
    </div>`}<//>`;
}

function List({ id, name, columns, all, none }) {
  if (!all?.length) return html`<p class="empty">${all ? none : `The ${name}s could not be asked.`}</p>`;
  return html`<${Table} id=${id} caption=${`${capital(name)}s that answer`} columns=${columns} rows=${all} by="name"/>`;
}

function Faults({ of }) {
  return of.map(({ text, fix, bad }) => html`<div class=${bad ? 'at-fault bad' : 'at-fault'}><p>${capital(text)}</p><${Fix} text=${fix}/></div>`);
}

// Dependency is a card. ok is null when there is nothing to judge. A fault is worse than
// what the dependency says of itself.
function Dependency({ name, ok, text, fault = [], facts, children }) {
  const [worst] = fault;
  const health = worst ? (worst.bad ? 'bad' : 'warned') : ok == null ? '' : ok ? 'good' : 'bad';
  return html`
    <div class="card" id=${`card-${name.toLowerCase().replace(' ', '-')}`}>
      <h3>${name}</h3>
      <p class=${`health ${health}`}>${worst && ok ? (worst.bad ? 'At fault' : 'Needs attention') : text}</p>
      <${Faults} of=${fault}/>
      ${children}
      ${facts && html`<${Facts} class="figures" facts=${facts}/>`}
    </div>`;
}

function EventLog({ reading }) {
  const { ok, error, events = 0, bytes: size = 0, max_bytes: max, free_bytes: free } = reading.event_log;
  const fault = faults(reading, 'event_log', 'disk', 'log_full', 'lost', 'other_log', 'retention');
  if (!ok) return html`<${Dependency} name="Event log" ok=${false} text=${error || 'Unavailable'} fault=${fault}/>`;
  const facts = [['Events', count(events)], ['Size', bytes(size)], ['Limit', max ? bytes(max) : 'none but the disk'], ['Free on its disk', free != null && bytes(free)]];
  return html`
    <${Dependency} name="Event log" ok=${true} text="Healthy" fault=${fault} facts=${facts}>
      ${max && html`<meter min="0" max=${max} low=${max * 0.7} high=${max * 0.9} optimum="0" value=${size} aria-label="How full the event log is"/>`}
    <//>`;
}

function PostgreSQL({ reading, overview: { database, version, latency_seconds: latency, counts } }) {
  const fault = faults(reading, 'postgresql', 'migrations', 'unmeasured');
  if (!reading.postgresql) {
    return html`
      <${Dependency} name="PostgreSQL" text="Not used by this process" fault=${fault}>
        <p class="note">Lags are measured where it is used: see the dashboard of a worker.</p>
      <//>`;
  }
  const { ok, error } = reading.postgresql;
  const facts = ok && version && [
    ['Version', version.split(' ')[0]], ['Database', database], ['Users', rows(counts.user)], ['Organizations', rows(counts.organization)],
    ['Memberships', rows(counts.membership)], ['Round trip', duration(latency)],
  ];
  return html`<${Dependency} name="PostgreSQL" ok=${ok} text=${ok ? 'Healthy' : error || 'Unavailable'} fault=${fault} facts=${facts}/>`;
}

function Silence({ reading }) {
  const { last_event_received_at: last } = reading;
  const { seconds, usual_gap_seconds: usual, longest_gap_seconds: longest, limit_seconds: limit, reached_at: reached } = reading.silence ?? {};
  if (seconds == null) return html`<${Dependency} name="Silence" text="Not known"/>`;
  const silent = limit != null && seconds > limit;
  const facts = [
    [last ? 'Since the last event' : 'Since the log was made', duration(seconds)], ['Usual gap', usual != null && duration(usual)], ['Longest gap', longest > usual && duration(longest)],
    ['Silent after', duration(limit)], [silent ? 'Silent since' : 'Silent at', reached && when(reached)],
  ];
  return html`<${Dependency} name="Silence" ok=${!silent} text=${silent ? 'Longer than the limit' : last ? 'Within the limit' : 'No event was received yet'} fault=${faults(reading, 'silent')} facts=${facts}/>`;
}

function Probe({ reading }) {
  const { probe } = reading;
  if (!probe) {
    return html`
      <${Dependency} name="Probe" text="Not scheduled">
        <p class="note">With CLERKSYNC_PROBE_URL, a signed event is sent through the public URL periodically: the whole way is checked, also when nobody signs up.</p>
      <//>`;
  }
  const { ok, stopped_at: hop, cause, fix, since, at } = probe;
  const fault = faults(reading, 'probe');
  if (!ok && !fault.length) fault.push({ text: cause, fix, bad: true });
  return html`<${Dependency} name="Probe" ok=${ok} text=${ok ? 'Arrives' : `Stops at ${hop}`} fault=${fault} facts=${[[ok ? 'Arrives since' : 'Stops since', when(since)], ['The last', when(at)]]}/>`;
}
