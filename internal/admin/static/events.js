// The stored events: filtered, a page at a time.

import { openEvent } from './details.js';
import { loadEvents } from './lists.js';
import { Fault, Section, Table, Time, Type, opener } from './parts.js';
import { html } from './preact/standalone.module.js';
import { UNKNOWN, duration } from './units.js';

const columns = [
  ['Seq', 'number', (e) => e.seq],
  ['Type', '', (e) => html`<${Type} type=${e.type} at=${e.stored_at}/>`],
  ['Entity', 'id wide', (e) => e.entity || UNKNOWN],
  ['Stored', 'time wide', (e) => html`<${Time} at=${e.stored_at}/>`],
  ['Delivery', 'number wider', (e) => delivery(e)],
  ['Origin', 'wider', (e) => e.origin || UNKNOWN],
  opener('event', openEvent),
];

function delivery({ origin, event_at: emitted, received_at: received }) {
  return origin === 'webhook' && emitted && received ? duration((Date.parse(received) - Date.parse(emitted)) / 1000) : UNKNOWN;
}

export function Events({ events: { fault, query, before, events, more } }) {
  const empty = events?.length === 0 && (query ? 'No stored event matches.' : before ? 'There are no older events.' : 'Nothing was stored yet.');
  return html`
    <${Section} id="events" title="Events">
      <div class="card">
        <${Filter}/>
        <${Fault} id="events-fault" text=${fault}/>
        ${events?.length > 0 && html`
          <${Table} id="events-rows" caption="Stored events, the newest first" columns=${columns} rows=${events} by="seq"/>`}
        <p class="empty" role="status" hidden=${!empty}>${empty}</p>
        <p class="pager">
          ${before > 0 && html`<button type="button" onClick=${() => turn(0)}>Newest</button>`}
          ${more && html`<button type="button" onClick=${() => turn(events.at(-1).seq)}>Older</button>`}
        </p>
      </div>
    <//>`;
}

async function turn(before) {
  await loadEvents({ before });
  document.getElementById('events-title').focus();
}

function Filter() {
  const submit = (submission) => {
    submission.preventDefault();
    const query = new URLSearchParams();
    for (const [name, value] of new FormData(submission.currentTarget)) if (value.trim()) query.append(name, value.trim());
    loadEvents({ query: query.toString(), before: 0 });
  };
  return html`
    <form id="filter" class="filter" onSubmit=${submit} onReset=${() => loadEvents({ query: '', before: 0 })}>
      <${Field} name="type" label="Type" placeholder="user.*" maxlength="256"/>
      <${Field} name="user" label="User" placeholder="user_…" maxlength="128"/>
      <${Field} name="org" label="Organization" placeholder="org_…" maxlength="128"/>
      <div class="buttons"><button class="primary" type="submit">Filter</button><button type="reset">Clear</button></div>
    </form>`;
}

function Field({ name, label, ...props }) {
  const id = `filter-${name}`;
  return html`<div><label for=${id}>${label}</label><input id=${id} name=${name} autocomplete="off" autocapitalize="off" spellcheck="false" ...${props}/></div>`;
}
