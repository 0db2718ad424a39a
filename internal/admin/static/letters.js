// The dead letters.

import { openLetter } from './details.js';
import { Fault, Id, Section, Table, Time, Type, opener } from './parts.js';
import { html } from './preact/standalone.module.js';
import { UNKNOWN, count, words } from './units.js';

const columns = [
  ['Seq', 'number', (l) => l.seq],
  ['Type', '', (l) => html`<${Type} type=${l.type} entity=${l.entity} at=${l.last_at}/>`],
  ['Entity', 'id wide', (l) => (l.entity ? html`<${Id} text=${l.entity}/>` : UNKNOWN)],
  ['Parked', 'time wide', (l) => html`<${Time} at=${l.last_at}/>`],
  ['Attempts', 'number wide', (l) => l.attempts],
  opener('dead letter', openLetter),
];

export function Letters({ letters: { fault, total, listed, reasons = [] } }) {
  return html`
    <${Section} id="letters" title="Dead letters">
      <div class="card">
        <${Fault} id="letters-fault" text=${fault}/>
        ${total === 0 && html`<p class="empty">There are none.</p>`}
        <div id="letters-groups">${reasons.map((group) => html`<${Reason} key=${group.reason} ...${group}/>`)}</div>
        ${listed < total && html`<p class="note">The last ${count(listed)} of ${count(total)}. clerksync dead ls lists all of them.</p>`}
      </div>
    <//>`;
}

function Reason({ reason, meaning, letters }) {
  return html`
    <div class="reason">
      <h3>${words(reason)} <span class="count">· ${count(letters.length)}</span></h3>
      <p class="note">${meaning}</p>
      <${Table} caption=${`Dead letters parked as ${words(reason)}`} columns=${columns} rows=${letters} by="seq" open=${(l) => openLetter(l.seq)}/>
    </div>`;
}
