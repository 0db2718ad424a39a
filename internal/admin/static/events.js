// The stored events: filtered, a page at a time.

import { personal } from './address.js';
import { openEvent } from './details.js';
import { go } from './lists.js';
import { Fault, Field, Id, Section, Status, Table, Time, Type, opener } from './parts.js';
import { html, useLayoutEffect, useRef, useState } from './preact/standalone.module.js';
import { UNKNOWN, duration } from './units.js';

const columns = [
  ['Seq', 'number', (e) => e.seq],
  ['Type', '', (e) => html`<${Type} type=${e.type} entity=${e.entity} at=${e.stored_at} status=${e.status}/>`],
  ['Entity', 'id wide', (e) => (e.entity ? html`<${Id} text=${e.entity}/>` : UNKNOWN)],
  ['Status', 'wide', (e) => html`<${Status} status=${e.status}/>`],
  ['Stored', 'time wide', (e) => html`<${Time} at=${e.stored_at}/>`],
  ['Delivery', 'number wider', (e) => delivery(e)],
  ['Origin', 'wider', (e) => e.origin || UNKNOWN],
  opener('event', openEvent),
];

function delivery({ origin, event_at: emitted, received_at: received }) {
  return origin === 'webhook' && emitted && received ? duration((Date.parse(received) - Date.parse(emitted)) / 1000) : UNKNOWN;
}

export function Events({ events: { fault, events, more }, address }) {
  const { type, user, org, before } = address;
  const empty = events?.length === 0 && (type || user || org ? 'No stored event matches.' : before ? 'There are no older events.' : 'Nothing was stored yet.');
  return html`
    <${Section} id="events" title="Events">
      <div class="card">
        <${Filter} address=${address}/>
        <${Fault} id="events-fault" text=${fault}/>
        ${events?.length > 0 && html`
          <${Table} id="events-rows" caption="Stored events, the newest first" columns=${columns} rows=${events} by="seq" open=${(e) => openEvent(e.seq)}/>`}
        <p class="empty" role="status" hidden=${!empty}>${empty}</p>
        <p class="pager">
          ${before && html`<button type="button" onClick=${() => turn('')}>Newest</button>`}
          ${more && html`<button type="button" onClick=${() => turn(events.at(-1).seq)}>Older</button>`}
        </p>
      </div>
    <//>`;
}

async function turn(before) {
  await go({ before });
  document.getElementById('events-title').focus();
}

const fields = ['type', 'user', 'org'];

function Filter({ address }) {
  const form = useRef();
  const [fault, setFault] = useState('');
  useLayoutEffect(() => {
    for (const name of fields) form.current.elements[name].value = address[name];
  }, fields.map((name) => address[name]));
  const submit = (submission) => {
    submission.preventDefault();
    const wanted = Object.fromEntries(fields.map((name) => [name, form.current.elements[name].value.trim()]));
    const mistaken = Object.values(wanted).some(personal); // it must not get into an address
    setFault(mistaken && 'events are filtered by Clerk id: find that of an e-mail address under Synced data');
    if (!mistaken) go({ ...wanted, before: '' });
  };
  const reset = () => {
    setFault('');
    go({ type: '', user: '', org: '', before: '' });
  };
  return html`
    <form id="filter" class="filter" ref=${form} onSubmit=${submit} onReset=${reset}>
      <${Field} name="type" label="Type" placeholder="user.*" maxlength="256"/>
      <${Field} name="user" label="User" placeholder="user_…" maxlength="128"/>
      <${Field} name="org" label="Organization" placeholder="org_…" maxlength="128"/>
      <div class="buttons"><button class="primary" type="submit">Filter</button><button type="reset">Clear</button></div>
    </form>
    <${Fault} id="filter-fault" text=${fault}/>`;
}
