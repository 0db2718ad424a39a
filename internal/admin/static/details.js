// One event or dead letter, in the dialog.

import { loadLetters, refresh } from './lists.js';
import { Facts, Id, meaning } from './parts.js';
import { html } from './preact/standalone.module.js';
import { get, page, post } from './server.js';
import { set, state } from './state.js';
import { plural, when, words } from './units.js';

const element = (id) => document.getElementById(id);

let opener = null; // gets the focus back when the dialog is closed

const event = (e) => ({ facts: [['Status', meaning(e.status)], ['Stored', when(e.stored_at)], ...envelope(e)], action: 'replay', verb: 'Replay', participle: 'replayed' });

const letter = (l) => ({
  meaning: l.meaning,
  facts: [
    ['Reason', words(l.reason)], ['Error', l.error], ['Attempts', String(l.attempts)],
    ['First parked', when(l.first_at)], ['Last parked', l.last_at !== l.first_at && when(l.last_at)],
    ['In the log', l.log_seq ? `as event ${l.log_seq}` : 'never: it was parked on arrival'], ...envelope(l),
  ],
  action: 'retry', verb: 'Retry', participle: 'retried',
  question: `Delete dead letter ${l.seq} for good? ${l.log_seq
    ? `Its event stays in the log as ${l.log_seq} for as long as the log keeps it.`
    : 'Its event is nowhere else: it was parked on arrival.'}`,
});

const id = (text) => text && html`<${Id} text=${text}/>`;

const envelope = (e) => [
  ['Type', e.type || 'not known'], ['Entity', id(e.entity)], ['User', e.user !== e.entity && id(e.user)], ['Organization', e.org !== e.entity && id(e.org)],
  ['Emitted by Clerk', e.event_at && when(e.event_at)], ['Received', e.received_at && when(e.received_at)], ['Origin', e.origin],
  ['Svix id', id(e.svix_id)], ['Body', plural(e.bytes, 'byte', 'bytes')],
];

export const openEvent = (seq) => open(`/events/${seq}`, `Event ${seq}`, 'events-title', event);
export const openLetter = (seq) => open(`/letters/${seq}`, `Dead letter ${seq}`, 'letters-title', letter);

async function open(path, title, home, describe) {
  opener = document.activeElement;
  set({ details: { path, title, home } });
  element('details').showModal();
  element('details-title').focus();
  await attempt(async () => {
    const subject = describe(await get(path));
    return { subject, result: page.canApply ? '' : `It cannot be ${subject.participle} here: this process has no database. Use the dashboard of a worker, or the command line.` };
  });
}

// attempt updates the dialog with what work returns, or with its error.
async function attempt(work) {
  const { path } = state.details;
  update(path, { busy: true });
  update(path, { busy: false, ...await work(path).catch((error) => ({ result: error.message, bad: true })) });
  const dialog = element('details');
  if (dialog.open && !dialog.contains(document.activeElement)) element('details-close').focus(); // its button is gone
}

// update changes the dialog, unless it shows something else by now.
function update(path, change) {
  if (state.details?.path === path) set({ details: { ...state.details, ...change } });
}

async function act(name) {
  await attempt(async (path) => {
    update(path, { result: '…', bad: false });
    const { text, outcome } = await post(`${path}/${name}`);
    return { result: text, bad: outcome === 'dead', confirming: false, settled: name !== 'replay' };
  });
  loadLetters();
  refresh();
}

async function showBody() {
  await attempt(async (path) => ({ body: await get(`${path}/body`) }));
  element('details-body')?.focus();
}

function confirm(confirming) {
  update(state.details.path, { confirming });
  element(confirming ? 'details-keep' : 'details-discard').focus();
}

// closed forgets the body, which may be personal data, and gives the focus back.
function closed() {
  const { home } = state.details;
  set({ details: null });
  (opener.isConnected ? opener : element(home)).focus();
}

export function Details({ details }) {
  return html`
    <dialog id="details" aria-labelledby="details-title" closedby="any" onClose=${closed}>
      <div class="dialog-head">
        <h2 id="details-title" tabindex="-1">${details?.title}</h2>
        <button type="button" id="details-close" aria-label="Close" onClick=${() => element('details').close()}>✕</button>
      </div>
      ${details && html`<${Content} ...${details}/>`}
    </dialog>`;
}

function Content({ subject, result, bad, busy, settled, confirming, body }) {
  return html`
    ${subject?.meaning && html`<p class="note meaning">${subject.meaning}</p>`}
    ${subject && html`<${Facts} class="facts" id="details-facts" facts=${subject.facts}/>`}
    <p class=${bad ? 'result bad' : 'result'} id="details-result" role="status">${result}</p>
    <div class="buttons" id="details-actions">
      ${subject && !settled && html`
        ${page.canApply && html`<button type="button" class="primary" disabled=${busy} onClick=${() => act(subject.action)}>${subject.verb} it</button>`}
        ${!body && html`<button type="button" disabled=${busy} onClick=${showBody}>Show the body</button>`}
        ${subject.question && html`<button type="button" class="danger" disabled=${busy} id="details-discard" onClick=${() => confirm(true)}>Discard…</button>`}`}
    </div>
    <div class="confirm" id="details-confirm" hidden=${!confirming}>
      <p id="details-question">${subject?.question}</p>
      <div class="buttons">
        <button type="button" class="danger" disabled=${busy} id="details-delete" onClick=${() => act('discard')}>Delete it for good</button>
        <button type="button" disabled=${busy} id="details-keep" onClick=${() => confirm(false)}>Keep it</button>
      </div>
    </div>
    ${body && html`
      <h3 id="details-body-title">Body${!body.json && ', which is not JSON'}${body.cut && ', its beginning'}</h3>
      <pre id="details-body" tabindex="0" aria-labelledby="details-body-title">${body.text || '(empty)'}</pre>`}`;
}
