// The dashboard: draws the state, which follows the stream. Text of the server becomes
// text on the page, never markup. Preact and htm are one file: preact/standalone.module.js
// of the npm package htm 3.1.1.

import { Details } from './details.js';
import { Empty } from './empty.js';
import { Events } from './events.js';
import { Figures } from './figures.js';
import { Lag } from './lag.js';
import { Letters } from './letters.js';
import { arrive, follow } from './lists.js';
import { html, render } from './preact/standalone.module.js';
import { logOut, page } from './server.js';
import { onChange, set } from './state.js';
import { start } from './stream.js';
import { Tables } from './tables.js';
import { Announcement, Banner, Verdict, alarming, judge } from './verdict.js';
import { Workers } from './workers.js';

function Page({ state, verdict }) {
  const { reading, letters, events, details, overview, entity, address } = state;
  return html`
    <a class="skip" href="#main">Skip to the content</a>
    <header>
      <p class="brand"><img src="/static/icon.svg" alt="" width="24" height="24"/> clerksync <span class="version">${page.version}</span></p>
      <nav aria-label="On this page">
        <a href="#tables">Data</a> <a href="#lag">Lag</a> <a href="#workers">Processes</a> <a href="#letters">Dead letters</a> <a href="#events">Events</a>
      </nav>
      <p class=${verdict.fresh ? 'live on' : 'live'} id="live">${verdict.live}</p>
      ${page.canLogOut && html`<button id="logout" type="button" onClick=${logOut}>Log out</button>`}
    </header>
    <main id="main" tabindex="-1">
      <${Banner} text=${verdict.banner}/>
      <${Announcement} verdict=${verdict}/>
      <${Verdict} verdict=${verdict}/>
      <${Empty} reading=${reading}/>
      ${reading && html`<${Figures} reading=${reading}/>`}
      <${Tables} overview=${overview} entity=${entity}/>
      <${Lag} state=${state}/>
      <${Workers} reading=${reading} overview=${overview}/>
      <${Letters} letters=${letters}/>
      <${Events} events=${events} address=${address}/>
    </main>
    <${Details} details=${details}/>`;
}

onChange((state) => {
  const verdict = judge(state);
  document.title = state.hidden ? 'clerksync' : `${alarming(verdict.tone) ? '● ' : ''}${verdict.title} · clerksync`;
  document.body.classList.toggle('old', !state.connected || verdict.tone === 'old');
  render(html`<${Page} state=${state} verdict=${verdict}/>`, document.getElementById('page'));
});
set({});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => set({})); // the charts have colours of their own
addEventListener('popstate', () => arrive());
start(follow);
