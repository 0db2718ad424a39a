// The figures below the verdict.

import { html } from './preact/standalone.module.js';
import { HOUR, UNKNOWN, count, duration, when } from './units.js';

const RETRIES = 28 * HOUR; // seconds: Svix delivers no event later

export function Figures({ reading: r }) {
  const { pending, end_to_end_seconds: end, seconds_left: left, dead_letters: dead } = r;
  return html`
    <section aria-label="Figures">
      <dl class="tiles">
        <${Tile} id="pending" name="Pending" value=${count(pending)}
          note=${pending == null ? 'not known' : pending ? `${count(r.in_work)} of them in flight` : 'nothing waits'}/>
        <${Tile} id="oldest" name="Oldest pending" value=${pending === 0 ? UNKNOWN : duration(r.oldest_pending_age_seconds)}
          note=${pending > 0 && (left == null ? 'in the log' : `about ${duration(left)} left`)}/>
        <${Tile} id="end" name="End to end" value=${end?.p50 < RETRIES ? duration(end.p50) : UNKNOWN} note=${endToEnd(end)}/>
        <${Tile} id="silence" name="Last event" value=${duration(r.last_event_received_at ? r.silence?.seconds : null)}
          note=${r.last_event_received_at ? `ago, at ${when(r.last_event_received_at)}` : 'none was received yet'}/>
        <${Tile} id="dead" name="Dead letters" value=${count(dead)} bad=${dead > 0} note=${dead > 0 && html`<a href="#letters">listed below</a>`}/>
      </dl>
    </section>`;
}

// endToEnd does not make a lag of the age of old events that were sent or imported.
function endToEnd(end) {
  if (!end) return 'not known';
  return end.p50 < RETRIES ? `p50; p99 is ${duration(end.p99)}` : `the last events were ${duration(end.p50)} old when they came`;
}

function Tile({ id, name, value, note, bad }) {
  return html`<div><dt>${name}</dt><dd class=${bad ? 'figure bad' : 'figure'} id=${id}>${value}</dd><dd class="note">${note}</dd></div>`;
}
