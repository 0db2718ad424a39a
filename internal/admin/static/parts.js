// Parts that several sections use.

import { html } from './preact/standalone.module.js';
import { when } from './units.js';

export function Section({ id, title, children }) {
  return html`<section id=${id} aria-labelledby=${`${id}-title`}><h2 id=${`${id}-title`} tabindex="-1">${title}</h2>${children}</section>`;
}

// Table draws rows, which the field by tells apart. A column is a heading, a class and a
// function from a row to its cell.
export function Table({ id, name, caption, columns, rows, by }) {
  return html`
    <div class="scroll">
      <table class=${name}>
        <caption class="hidden">${caption}</caption>
        <thead><tr>${columns.map(([heading, name]) => html`<th scope="col" class=${name}>${heading}</th>`)}</tr></thead>
        <tbody id=${id}>${rows.map((row) => html`<tr key=${row[by]}>${columns.map(([, name, cell]) => html`<td class=${name}>${cell(row)}</td>`)}</tr>`)}</tbody>
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

// Type breaks at the dot, and has the time below on a narrow screen.
export function Type({ type, at }) {
  const [resource, act] = (type || 'not known').split('.');
  return html`${resource}${act && html`.<wbr/>${act}`}<span class="below"><${Time} at=${at}/></span>`;
}

// opener returns the column of the buttons that open the dialog.
export const opener = (kind, open) => [html`<span class="hidden">Action</span>`, 'action', ({ seq }) => html`
  <button type="button" aria-label=${`Open ${kind} ${seq}`} onClick=${() => open(seq)}>Open</button>`];
