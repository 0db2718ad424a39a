// The verdict, and whether it is still of now.

import { Fix } from './parts.js';
import { html, useRef } from './preact/standalone.module.js';
import { ago, capital, plural, when, words } from './units.js';

const OLD = 15; // seconds: a reading is taken every 5

// judge returns what the page says of the last reading: its tone (a state of the
// server, or warned, measuring or old), title, reason, fix and warnings, the banner over
// all of it and the line in the header.
export function judge({ now, hidden, connected, lostAt, reading, measuredAt }) {
  const seconds = (now - measuredAt) / 1000;
  const old = Boolean(reading) && (!connected || seconds > OLD);
  const measured = reading && `measured at ${when(reading.measured_at)}, ${ago(seconds)}`;

  let banner = '';
  if (lostAt && !hidden) {
    banner = `Disconnected since ${when(lostAt)}; reconnecting. ${reading ? `These figures were ${measured}.` : 'Nothing was measured yet.'}`;
  } else if (old) {
    banner = `No new measurement: these figures were ${measured}.`;
  }
  const header = { banner, fresh: connected && Boolean(reading) && !old };
  if (!reading) return { ...header, tone: 'measuring', title: 'Measuring…', why: '', live: lostAt ? 'Disconnected' : connected ? 'Connected' : 'Connecting…' };

  const state = words(reading.state);
  const why = reason(reading);
  if (old) return { ...header, tone: 'old', title: 'Not known', why: `Last known, ${ago(seconds)}: ${state}. ${why}`, live: lostAt ? 'Disconnected' : 'Old' };
  const { fix, warnings } = reading;
  const warned = reading.state === 'in_step' && warnings.length > 0;
  return {
    ...header, why, fix, warnings, live: `Live, ${ago(seconds)}`,
    tone: warned ? 'warned' : reading.state, title: capital(state) + (warned ? `, ${plural(warnings.length, 'warning', 'warnings')}` : ''),
  };
}

function reason({ state, why, dead_letters: dead }) {
  if (!why && state === 'in_step') why = dead > 0 ? 'every event that can be applied is in the tables' : 'every event received is in the tables';
  return why && capital(why) + (/[.?!]$/.test(why) ? '' : '.');
}

// alarming reports whether a tone asks for somebody.
export const alarming = (tone) => !['in_step', 'measuring', 'old'].includes(tone);

// faults returns what is wrong for one of some causes: the verdict first, then warnings.
export function faults({ state, cause, why, fix, warnings }, ...causes) {
  return [...(state === 'in_step' ? [] : [{ cause, text: why, fix, bad: !['silent', 'behind'].includes(state) }]), ...warnings].filter((fault) => causes.includes(fault.cause));
}

export function Banner({ text }) {
  return html`<p class="banner" id="banner" hidden=${!text}>${text}</p>`;
}

// Announcement tells a screen reader about a change of tone, and of nothing else.
export function Announcement({ verdict: { tone, banner, title, why } }) {
  const last = useRef({ tone, text: '' });
  if (tone !== last.current.tone) {
    const first = last.current.tone === 'measuring';
    last.current = { tone, text: first ? '' : tone === 'old' ? banner : `${title}. ${why}` };
  }
  return html`<p class="hidden" id="announce" role="status">${last.current.text}</p>`;
}

const icons = {
  in_step: html`<path d="M5 12.5 10 17.5 19 7.5"/>`,
  behind: html`<path d="M12 6v6.5l4 2.5"/><circle cx="12" cy="12" r="8.5"/>`,
  stuck: html`<path d="M9 7v10M15 7v10"/>`,
  refusing: html`<path d="M6.5 6.5l11 11"/><circle cx="12" cy="12" r="8.5"/>`,
  lost: html`<path d="M7 7l10 10M17 7 7 17"/>`,
  warned: html`<path d="M12 6v7.5M12 18v.01"/>`,
  silent: html`<path d="M5 12h14"/>`,
};
const question = html`<path d="M9 9.2a3.1 3.1 0 1 1 4.6 2.7c-1 .6-1.6 1.2-1.6 2.3M12 18v.01"/>`;

export function Verdict({ verdict: { tone, title, why, fix, warnings } }) {
  return html`
    <section class="verdict" id="verdict" data-state=${tone} aria-labelledby="state">
      <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">${icons[tone] ?? question}</svg>
      <div>
        <h1 id="state">${title}</h1>
        <p id="why">${why}</p>
        <${Fix} text=${fix}/>
      </div>
      ${warnings?.length > 0 && html`<ul class="warnings" aria-label="Warnings">${warnings.map(({ text, fix }) => html`<li>${capital(text)}<${Fix} text=${fix}/></li>`)}</ul>`}
    </section>`;
}
