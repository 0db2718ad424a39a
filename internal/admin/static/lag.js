// The lag: by hop, waiting events, rates.

import * as charts from './charts.js';
import { go } from './lists.js';
import { Facts, Section, Table } from './parts.js';
import { html } from './preact/standalone.module.js';
import { UNKNOWN, count, duration, rate } from './units.js';

const columns = [
  ['Hop', '', (hop) => hop.name],
  ['p50', 'number', (hop) => duration(hop.lag?.p50)],
  ['p99', 'number', (hop) => duration(hop.lag?.p99)],
  ['Events', 'number', (hop) => count(hop.lag?.events)],
];

const hops = (r) => [{ name: 'Delivery', lag: r.delivery_seconds }, { name: 'Queue', lag: r.queue_seconds }, { name: 'End to end', lag: r.end_to_end_seconds }];

const rates = (r) => [
  ['Stored', rate(r.stored_per_second)], ['Applied', rate(r.applied_per_second)], ['Until nothing waits', r.pending ? duration(r.seconds_left) : UNKNOWN],
];

export function Lag({ state }) {
  const { reading: r } = state;
  return html`
    <${Section} id="lag" title="Lag">
      <div class="ranges" role="group" aria-label="Range of time">${Object.keys(charts.ranges).map((name) => html`
        <button type="button" aria-pressed=${charts.rangeOf(state.address) === name} onClick=${() => go({ range: name === '1h' ? '' : name })}>${name.replace(/\d+/, '$& ')}</button>`)}
      </div>
      <div class="grid">
        <${Figure} title="By hop" note="of the events applied last; p50 dashed" chart=${charts.lag} state=${state}>
          ${r && html`<${Table} name="figures" caption="Lag by hop, now" columns=${columns} rows=${hops(r)} by="name"/>`}
        <//>
        <${Figure} title="Waiting" note="stored and not yet applied" chart=${charts.waiting} state=${state}>
          ${r && html`<${Facts} class="figures" facts=${rates(r)}/>`}
        <//>
        <${Figure} title="Received" note="deliveries a second, in this process" chart=${charts.received} state=${state}/>
        <${Figure} title="Applied" note="events a second by outcome, in this process" chart=${charts.applied} state=${state}/>
      </div>
    <//>`;
}

function Figure({ title, note, chart, state, children }) {
  return html`<figure class="card"><figcaption>${title} <small>${note}</small></figcaption><${charts.Chart} chart=${chart} state=${state}/>${children}</figure>`;
}
