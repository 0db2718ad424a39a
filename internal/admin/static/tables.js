// The synced tables: how many they hold, and one entity of them.

import { openEvent } from './details.js';
import { find, go, openEntity } from './lists.js';
import { Facts, Fault, Field, Id, Section, Status, Table, Time, Type, opener } from './parts.js';
import { html, useState } from './preact/standalone.module.js';
import { page } from './server.js';
import { UNKNOWN, count, plural } from './units.js';

const kinds = [['user', 'People', 'person', 'people'], ['organization', 'Organizations'], ['membership', 'Memberships']];

export const rows = (c) => (c ? `${c.exact ? '' : 'about '}${count(c.rows)}` : UNKNOWN);

export function Tables({ overview: { counts }, entity }) {
  return html`
    <${Section} id="tables" title="Synced data">
      ${page.canApply ? html`
        <dl class="tiles three">${kinds.map(([kind, name]) => html`
          <div><dt>${name}</dt><dd class="figure" id=${`count-${kind}`}>${rows(counts?.[kind])}</dd></div>`)}</dl>
        <div class="card find">
          <${Find}/>
          ${entity && html`<${Entity} ...${entity}/>`}
        </div>` : html`<p class="card empty">This process has no database: the dashboard of a worker shows the tables.</p>`}
    <//>`;
}

function Find() {
  const [{ fault, ids }, answer] = useState({});
  const submit = async (submission) => {
    submission.preventDefault();
    const form = submission.currentTarget;
    const name = form.elements.name.value.trim();
    if (!name) return;
    try {
      const ids = await find(name);
      answer({ ids });
      form.reset(); // an e-mail address does not stay on the screen
      if (ids.length === 1) openEntity(ids[0]);
    } catch (error) {
      answer({ fault: error.message });
    }
  };
  return html`
    <form id="find" class="filter" onSubmit=${submit}>
      <${Field} name="name" label="Find by Clerk id, or by the e-mail address of a user" placeholder="user_…, org_…, orgmem_…, or an e-mail address" maxlength="320"/>
      <div class="buttons"><button class="primary" type="submit">Find</button></div>
    </form>
    <${Fault} id="find-fault" text=${fault}/>
    ${ids?.length > 1 && html`<p class="note" id="find-many">Several users claim it, the first holds it: ${ids.map((id) => html` <${Id} key=${id} text=${id}/>`)}</p>`}`;
}

const states = {
  deleted: 'its row keeps the ids, and nothing of what they stood for',
  stub: 'known by its id from an event about something else; its own events have not been applied',
  removed: 'it has no row: its user or organization is deleted, or a newer membership of the same two took its place',
  unknown: 'its events are stored, and none has been applied',
};

// cell returns a value of a row, an id or an address as a text to copy.
function cell(name, value) {
  if (name.endsWith('_at')) return html`<${Time} at=${value}/>`;
  if (typeof value === 'string' && (/(^|_)id$/.test(name) || name.includes('email'))) return html`<${Id} text=${value}/>`;
  return typeof value === 'string' ? value : JSON.stringify(value);
}

const none = (value) => value == null || value === '';

function facts(object) {
  const all = Object.entries(object);
  return [
    ...all.filter(([, value]) => !none(value)).map(([name, value]) => [name, cell(name, value)]),
    ['without a value', all.filter(([, value]) => none(value)).map(([name]) => name).join(', ')],
  ];
}

const columns = [
  ['Seq', 'number', (e) => e.seq],
  ['Type', '', (e) => html`<${Type} type=${e.type} at=${e.stored_at} status=${e.status}/>`],
  ['Status', 'wide', (e) => html`<${Status} status=${e.status}/>`],
  ['Emitted', 'time wide', (e) => html`<${Time} at=${e.event_at}/>`],
  ['Stored', 'time wide', (e) => html`<${Time} at=${e.stored_at}/>`],
  ['Origin', 'wider', (e) => e.origin || UNKNOWN],
  opener('event', openEvent),
];

function Entity({ id, kind, state, row, head, events, more, fault }) {
  const filter = { user: { user: id }, organization: { org: id } }[kind];
  const showAll = async () => {
    await go({ type: '', user: '', org: '', before: '', ...filter });
    document.getElementById('events-title').focus();
  };
  return html`
    <article id="entity" aria-labelledby="entity-title">
      <div class="entity-head">
        <h3 id="entity-title" tabindex="-1"><${Id} text=${id}/> <small id="entity-state">${kind && `${kind}, ${state}`}</small></h3>
        <button type="button" id="entity-close" onClick=${() => go({ entity: '' })}>Close</button>
      </div>
      <${Fault} id="entity-fault" text=${fault}/>
      ${states[state] && html`<p class="note">${kind === 'membership' && state === 'deleted' ? 'a membership that has ended has no row' : states[state]}</p>`}
      ${events && html`
        <h4>${plural(events.length, 'event', 'events')} about it${more && ', the last ones'}</h4>
        ${events.length > 0 && html`<${Table} id="entity-events" caption="Events about it, the newest first" columns=${columns} rows=${events} by="seq" open=${(e) => openEvent(e.seq)}/>`}
        ${filter && html`<p class="pager"><button type="button" onClick=${showAll}>All events that name it</button></p>`}
        <div class="grid">
          <div><h4>Row</h4>${row ? html`<${Facts} class="facts" id="entity-row" facts=${facts(row)}/>` : html`<p class="empty">There is none.</p>`}</div>
          <div><h4>Head</h4>${head ? html`<${Facts} class="facts" id="entity-head" facts=${facts(head)}/>` : html`<p class="empty">Nothing was applied.</p>`}</div>
        </div>`}
    </article>`;
}
