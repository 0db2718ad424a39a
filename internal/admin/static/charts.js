// The charts, drawn by uPlot.

import { html, useLayoutEffect, useMemo, useRef } from './preact/standalone.module.js';
import { page } from './server.js';
import { DAY, HOUR, UNKNOWN, count, duration, toMinute, toSecond, words } from './units.js';

const { uPlot } = window;

const HEIGHT = 208;
const LABEL = 24; // pixels: labels of an axis are not nearer

// No line bridges more than these milliseconds: samples come every 5 s, and of those older
// than an hour one a minute is kept.
const GAP = 20000;
const OLD_GAP = 180000;
const FLOOR = 0.001; // seconds: a logarithmic axis has no 0

// Marks on the axes, in seconds: MARKS far apart, for the logarithmic axis.
const MARKS = [FLOOR, 0.01, 0.1, 1, 10, 60, 600, HOUR, 6 * HOUR, DAY, 10 * DAY, 100 * DAY];
const AGES = [0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, HOUR, 2 * HOUR, 6 * HOUR, 12 * HOUR, ...[1, 2, 5, 10, 20, 50, 100, 200, 500].map((n) => n * DAY)];
const COUNTS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].flatMap((n) => [1, 2, 5].map((m) => m * 10 ** n));

const dark = matchMedia('(prefers-color-scheme: dark)');
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const perSecond = (v) => (v > 0 && v < 10 ? String(+v.toFixed(2)) : count(Math.round(v)));

// A chart has lines, each with a label, a series of app.css and its value in a sample,
// null where there is none; filled and wide say how it is drawn. A line with median is
// followed by that of its median, dashed, which shares its entry in the legend. A line
// with right has an axis at the right.

const hop = (name, key, series, wide) => [
  { label: `${name} p99`, series, wide, median: true, of: (s) => s[key]?.[1] },
  { label: `${name} p50`, series, dashed: true, of: (s) => s[key]?.[0] },
];

export const lag = {
  log: true, format: duration,
  lines: () => [...hop('End to end', 'end_to_end', 3, true), ...hop('Delivery', 'delivery', 1), ...hop('Queue', 'queue', 2)], // the later on top
  empty: ({ reading }) => (reading?.postgresql ? 'Nothing was applied in this time.' : 'Measured where PostgreSQL is used: see the dashboard of a worker.'),
};

export const waiting = {
  format: count, incrs: COUNTS,
  lines: () => [
    { label: 'Pending', series: 1, filled: true, of: (s) => s.pending },
    { label: 'Age of the oldest', series: 2, right: duration, of: (s) => s.oldest },
  ],
  empty: () => 'The number of pending events is not known.',
};

// SERIES are the colours of outcomes, in the order of the server: the quiet ones first.
const SERIES = [1, 6, 4, 7, 5, 2, 3];

// byOutcome has one line for each outcome in the samples, and always the first.
const byOutcome = (name, elsewhere) => ({
  format: perSecond,
  lines: (samples) => (samples.some((s) => s[name]) ? page.outcomes[name] : [])
    .map((outcome, i) => ({ label: words(outcome), series: SERIES[i % SERIES.length], of: (s) => s[name] && (s[name][outcome] ?? 0) }))
    .filter((line, i) => i === 0 || samples.some((s) => line.of(s) > 0)),
  empty: ({ samples }) => (samples.length < 2 ? 'A rate needs two readings: wait a few seconds.' : elsewhere),
});

export const received = byOutcome('received', 'This process does not receive. Its receivers have dashboards of their own.');
export const applied = byOutcome('applied', 'This process applies nothing. Workers have dashboards of their own.');

// ranges are the ranges of time, in seconds. The second is the default.
export const ranges = { '15min': HOUR / 4, '1h': HOUR, '24h': DAY };

export const rangeOf = ({ range }) => (ranges[range] ? range : '1h');

export function Chart({ chart, state }) {
  const range = rangeOf(state.address);
  const samples = useMemo(() => {
    const since = (state.samples.at(-1)?.at ?? 0) - ranges[range] * 1000;
    return state.samples.filter((s) => s.at >= since);
  }, [state.samples, range]);
  const { lines, data } = useMemo(() => {
    const lines = chart.lines(samples);
    return { lines, data: columns(lines, samples, chart.log ? FLOOR : 0) };
  }, [samples]);
  if (!data.slice(1).some((column) => column.some((v) => v != null))) {
    return html`<div class="chart"><p class="empty">${chart.empty({ ...state, samples })}</p></div>`;
  }
  const key = lines.map((line) => line.label).join() + dark.matches; // a plot keeps its lines and colours
  return html`<${Plot} key=${key} chart=${chart} lines=${lines} data=${data}/>`;
}

// columns returns times and values as uPlot has them, with a null where nothing was
// measured.
function columns(lines, samples, least) {
  const data = [[], ...lines.map(() => [])];
  let before = Infinity;
  const fine = (samples.at(-1)?.at ?? 0) - 0.95 * HOUR * 1000;
  for (const s of samples) {
    if (s.at - before > (before < fine ? OLD_GAP : GAP)) data.forEach((column, i) => column.push(i ? null : (before + 1) / 1000));
    before = s.at;
    data[0].push(s.at / 1000);
    lines.forEach((line, i) => {
      const v = line.of(s);
      data[i + 1].push(v == null ? null : Math.max(v, least));
    });
  }
  return data;
}

function Plot({ chart, lines, data }) {
  const box = useRef();
  const plot = useRef();
  useLayoutEffect(() => {
    const u = plot.current = new uPlot({ width: box.current.clientWidth, height: HEIGHT, ...options(chart, lines) }, data, box.current);
    const observer = new ResizeObserver(() => u.setSize({ width: box.current.clientWidth, height: HEIGHT }));
    observer.observe(box.current);
    return () => {
      observer.disconnect();
      u.destroy();
    };
  }, []);
  useLayoutEffect(() => {
    plot.current.setData(data);
    showLast(plot.current);
  }, [data]);
  return html`<div class="chart" ref=${box}></div>`;
}

// showLast shows the last values in the legend, unless the cursor points at others.
function showLast(u) {
  if (u.cursor.idx == null) u.setLegend({ idx: u.data[0].length - 1 });
}

function options({ log, format, incrs }, lines) {
  const stroke = css('--muted');
  const grid = { stroke: css('--grid'), width: 1 };
  const range = (u, min, max) => [0, max > 0 ? max * 1.1 : 1];
  const axis = { stroke, ticks: { show: false }, size: 58 };
  const logarithmic = { splits: (u, i, min, max) => spaced(min, max), filter: (u, splits) => splits };
  return {
    cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false }, sync: { key: 'clerksync' } },
    scales: {
      x: { time: true, range: (u) => [Math.min(u.data[0][0], u.data[0].at(-1) - 300), u.data[0].at(-1)] }, // 5 minutes at least
      y: log ? { distr: 3, range: (u, min, max) => around(min, max) } : { range },
      right: { range },
    },
    axes: [
      { stroke, grid: { show: false }, ticks: grid, space: 70, values: (u, splits) => splits.map(toMinute) },
      { ...axis, grid, values: (u, splits) => splits.map((v) => (v == null ? '' : format(v))), ...(log ? logarithmic : incrs && { incrs }) },
      ...lines.filter((line) => line.right).map((line) => ({
        ...axis, scale: 'right', side: 1, grid: { show: false }, incrs: AGES, values: (u, splits) => splits.map(line.right),
      })),
    ],
    series: [{ label: 'At', value: (u, v) => (v == null ? UNKNOWN : toSecond(v)) }, ...lines.map((line) => series(line, format))],
    hooks: { setCursor: [showLast] },
  };
}

function series({ label, series, wide, filled, dashed, median, right }, format) {
  const colour = css(`--series-${series}`);
  return {
    label,
    scale: right ? 'right' : 'y',
    class: dashed ? 'with' : null, // app.css hides it in the legend
    stroke: colour + (wide ? '66' : ''), // others are drawn over it
    fill: filled ? `${colour}2e` : undefined,
    width: wide ? 5 : dashed ? 1.25 : 2,
    dash: dashed ? [4, 3] : undefined,
    points: { show: true, size: 4, filter: alone },
    value: (u, v, i, at) => (v == null ? UNKNOWN : (right ?? format)(v) + (median ? `, p50 ${format(u.data[i + 1][at])}` : '')),
  };
}

// spaced returns the marks of a logarithmic axis that have room for their labels.
export function spaced(min, max) {
  const room = HEIGHT - 60; // without the axis of time
  let last = -Infinity;
  return MARKS.filter((mark) => {
    const at = (Math.log(mark / min) / Math.log(max / min)) * room;
    if (mark < min || mark > max || at - last < LABEL) return false;
    last = at;
    return true;
  });
}

// around returns the two marks that enclose all values.
function around(min, max) {
  if (min == null) return [0.01, 1];
  const low = MARKS.findLast((mark) => mark <= min) ?? FLOOR;
  return [low, MARKS.find((mark) => mark >= max && mark > low) ?? max];
}

// alone returns the points without neighbours: no line shows them.
function alone(u, i) {
  const column = u.data[i];
  return column.flatMap((v, at) => (v != null && column[at - 1] == null && column[at + 1] == null ? [at] : []));
}
