// The next steps of a deployment that has received nothing.

import { Id } from './parts.js';
import { html } from './preact/standalone.module.js';
import { page } from './server.js';

const local = /^https?:\/\/(127\.|localhost|\[::1\])/;

export function Empty({ reading }) {
  if (!reading?.event_log.ok || reading.last_event_received_at || reading.event_log.events > 0 || reading.dead_letters > 0) return null;
  return html`
    <section class="card" id="empty" aria-labelledby="empty-title">
      <h2 id="empty-title" tabindex="-1">Nothing was received yet</h2>
      <p>${page.endpoint ? html`The endpoint is <${Id} text=${page.endpoint}/>` : html`The endpoint is <code>/api/webhooks/clerk</code> on the public address of the receiver.`}
        ${local.test(page.endpoint) && ' It is on this machine: Clerk needs a public https address, of a proxy or a tunnel, that leads there.'}</p>
      <ol>
        <li>Clerk dashboard → Webhooks → Add Endpoint: its URL, and the events <code>user</code>, <code>organization</code> and <code>organizationMembership</code>.</li>
        <li>Copy the endpoint’s signing secret into <code>CLERK_WEBHOOK_SIGNING_SECRET</code>, and restart.</li>
        <li><code>clerksync doctor --url https://…</code> sends a probe the whole way. <code>clerksync backfill</code> fetches everybody who is at Clerk already.</li>
      </ol>
    </section>`;
}
