// The workers, and what they depend on.

import { Facts, Section, Table, Time } from './parts.js';
import { html } from './preact/standalone.module.js';
import { bytes, count, duration, when } from './units.js';

const columns = [
  ['Worker', 'id', (w) => w.name],
  ['State', '', (w) => doing(w)],
  ['Busy', 'number', (w) => `${w.appliers_busy} of ${w.appliers}`],
  ['Applied', 'number wide', (w) => count(w.applied)],
  ['Since', 'time wide', (w) => html`<${Time} at=${w.started_at}/>`],
  ['Version', 'wide', (w) => w.version],
];

function doing(worker) {
  const failure = worker.failing ?? worker.outage;
  if (failure) return html`<span class="failing">Failing since ${when(failure.since)}: ${failure.reason}</span>`;
  return worker.appliers_busy ? 'Applying' : 'Waiting for events';
}

export function Workers({ reading }) {
  return html`<${Section} id="workers" title="Workers and dependencies">${reading && html`
    <div class="card"><${List} workers=${reading.workers}/></div>
    <div class="grid three">
      <${EventLog} ...${reading.event_log}/>
      <${PostgreSQL} ...${reading.postgresql}/>
      <${Silence} ...${reading.silence}/>
    </div>`}<//>`;
}

function List({ workers }) {
  if (!workers?.length) return html`<p class="empty">${workers ? 'No worker answers: nothing is applied.' : 'The workers could not be asked.'}</p>`;
  return html`<${Table} id="workers-rows" caption="Workers that answer" columns=${columns} rows=${workers} by="name"/>`;
}

// Dependency is a card. ok is null when there is nothing to judge.
function Dependency({ name, ok, text, facts, children }) {
  return html`
    <div class="card">
      <h3>${name}</h3>
      <p class=${`health ${ok == null ? '' : ok ? 'good' : 'bad'}`}>${text}</p>
      ${children}
      ${facts && html`<${Facts} class="figures" facts=${facts}/>`}
    </div>`;
}

function EventLog({ ok, error, events = 0, bytes: size = 0, max_bytes: max }) {
  if (!ok) return html`<${Dependency} name="Event log" ok=${false} text=${error || 'Unavailable'}/>`;
  const facts = [['Events', count(events)], ['Size', bytes(size)], ['Limit', max ? bytes(max) : 'none but the disk']];
  return html`
    <${Dependency} name="Event log" ok=${true} text="Healthy" facts=${facts}>
      ${max && html`<meter min="0" max=${max} low=${max * 0.7} high=${max * 0.9} optimum="0" value=${size} aria-label="How full the event log is"/>`}
    <//>`;
}

function PostgreSQL({ ok, error }) {
  if (ok != null) return html`<${Dependency} name="PostgreSQL" ok=${ok} text=${ok ? 'Healthy' : error || 'Unavailable'}/>`;
  return html`
    <${Dependency} name="PostgreSQL" text="Not used by this process">
      <p class="note">Lags are measured where it is used: see the dashboard of a worker.</p>
    <//>`;
}

function Silence({ seconds, usual_gap_seconds: usual, longest_gap_seconds: longest, limit_seconds: limit }) {
  if (seconds == null) return html`<${Dependency} name="Silence" text="No event was received yet"/>`;
  const silent = limit != null && seconds > limit;
  const learned = (gap) => (gap == null ? 'not known yet' : duration(gap));
  const facts = [['Since the last event', duration(seconds)], ['Usual gap', learned(usual)], ['Longest gap', learned(longest)], ['Silent after', learned(limit)]];
  return html`<${Dependency} name="Silence" ok=${!silent} facts=${facts} text=${silent ? 'Longer than usual' : limit == null ? 'Still learning what is usual' : 'As usual'}/>`;
}
