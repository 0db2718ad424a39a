// Parts that several sections use.

import { openEntity } from './lists.js';
import { html, useRef, useState } from './preact/standalone.module.js';
import { page } from './server.js';
import { UNKNOWN, when } from './units.js';

export function Section({ id, title, children }) {
  return html`<section id=${id} aria-labelledby=${`${id}-title`}><h2 id=${`${id}-title`} tabindex="-1">${title}</h2>${children}</section>`;
}

// Table draws rows, which the field by tells apart. A column is a heading, a class and a
// function from a row to its cell. With open, a click on a row calls it.
export function Table({ id, name, caption, columns, rows, by, open }) {
  const click = open && ((row) => ({ target }) => {
    if (!target.closest('button, a') && !getSelection().toString()) open(row);
  });
  return html`
    <div class="scroll">
      <table class=${name}>
        <caption class="hidden">${caption}</caption>
        <thead><tr>${columns.map(([heading, name]) => html`<th scope="col" class=${name}>${heading}</th>`)}</tr></thead>
        <tbody id=${id}>${rows.map((row) => html`<tr key=${row[by]} class=${open ? 'opens' : ''} onClick=${click?.(row)}>${columns.map(([, name, cell]) => html`<td class=${name}>${cell(row)}</td>`)}</tr>`)}</tbody>
      </table>
    </div>`;
}

// Facts draws pairs of a name and a text, without those that have no text.
export function Facts({ facts, ...props }) {
  return html`<dl ...${props}>${facts.filter(([, text]) => text).map(([name, text]) => html`<div><dt>${name}</dt><dd>${text}</dd></div>`)}</dl>`;
}

export function Fault({ id, text }) {
  return html`<p class="fault" id=${id} role="alert" hidden=${!text}>${text}</p>`;
}

export function Time({ at }) {
  return html`<time datetime=${at} title=${at}>${when(at)}</time>`;
}

// Type breaks at the dot, and has the entity, the time and the status below on a narrow
// screen.
export function Type({ type, entity, at, status }) {
  const [resource, act] = (type || 'not known').split('.');
  return html`${resource}${act && html`.<wbr/>${act}`}<span class="below">${entity && html`<${Id} text=${entity}/><br/>`}<${Time} at=${at}/>${status && html` <${Status} status=${status}/>`}</span>`;
}

// Id is an id, or another text to copy. That of an entity opens it.
export function Id({ text }) {
  const code = useRef();
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    getSelection().selectAllChildren(code.current);
    if (navigator.clipboard) await navigator.clipboard.writeText(text).catch(() => {});
    else document.execCommand('copy'); // over plain HTTP there is no other way
    getSelection().removeAllRanges();
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  const entity = page.canApply && /^(user|org|orgmem)_[\w-]+$/.test(text);
  return html`<span class="copyable"><code ref=${code}>${entity ? html`<button type="button" class="link" onClick=${() => openEntity(text)}>${text}</button>` : text}</code>
    <button type="button" class="copy" aria-label=${`Copy ${text}`} title="Copy" onClick=${copy}>${copied ? '✓' : '⧉'}</button></span>`;
}

// meanings are those of the status of an event. See status.go.
const meanings = {
  waiting: 'stored, and not applied yet',
  applied: 'the row is what it says',
  superseded: 'settled, and a newer event says what the row is; whether this one was applied before is not kept',
  parked: 'a dead letter',
  ignored: 'events of this type are not synced',
  settled: 'not waiting; no more is known: its dead letter was discarded, or it was erased',
};

export function Status({ status }) {
  return html`<span class=${`status ${status}`} title=${meanings[status]}>${status || UNKNOWN}</span>`;
}

export const meaning = (status) => (status ? `${status}: ${meanings[status]}` : '');

// Fix is the next step of a fault.
export function Fix({ text }) {
  return text && html`<p class="fix">→ ${text}</p>`;
}

// opener returns the column of the buttons that open the dialog.
export const opener = (kind, open) => [html`<span class="hidden">Action</span>`, 'action', ({ seq }) => html`
  <button type="button" aria-label=${`Open ${kind} ${seq}`} onClick=${() => open(seq)}>Open</button>`];

export function Field({ name, label, ...props }) {
  const id = `filter-${name}`;
  return html`<div><label for=${id}>${label}</label><input id=${id} name=${name} autocomplete="off" autocapitalize="off" spellcheck="false" ...${props}/></div>`;
}
