// The figures below the verdict.

import { html } from './preact/standalone.module.js';
import { UNKNOWN, count, duration, when } from './units.js';

export function Figures({ reading: r }) {
  const { pending, end_to_end_seconds: end, seconds_left: left, dead_letters: dead } = r;
  return html`
    <section aria-label="Figures">
      <dl class="tiles">
        <${Tile} id="pending" name="Pending" value=${count(pending)}
          note=${pending == null ? 'not known' : pending ? `${count(r.in_work)} of them in flight` : 'nothing waits'}/>
        <${Tile} id="oldest" name="Oldest pending" value=${pending === 0 ? UNKNOWN : duration(r.oldest_pending_age_seconds)}
          note=${pending > 0 && (left == null ? 'in the log' : `about ${duration(left)} left`)}/>
        <${Tile} id="end" name="End to end" value=${duration(end?.p50)} note=${end ? `p50; p99 is ${duration(end.p99)}` : 'not known'}/>
        <${Tile} id="silence" name="Last event" value=${duration(r.silence?.seconds)}
          note=${r.last_event_received_at ? `ago, at ${when(r.last_event_received_at)}` : 'none was received yet'}/>
        <${Tile} id="dead" name="Dead letters" value=${count(dead)} bad=${dead > 0} note=${dead > 0 && 'listed below'}/>
      </dl>
    </section>`;
}

function Tile({ id, name, value, note, bad }) {
  return html`<div><dt>${name}</dt><dd class=${bad ? 'figure bad' : 'figure'} id=${id}>${value}</dd><dd class="note">${note}</dd></div>`;
}
