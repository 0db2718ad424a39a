// Numbers and times as text. duration, bytes and rate read as the verdict and the
// command line do.

const whole = new Intl.NumberFormat('en');
const hourMinute = new Intl.DateTimeFormat('en-GB', { timeStyle: 'short' });
const clock = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });
const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', second: '2-digit' });

export const HOUR = 3600;
export const DAY = 24 * HOUR;

// UNKNOWN stands for a value that the server does not know.
export const UNKNOWN = '–';

export const count = (n) => (n == null ? UNKNOWN : whole.format(n));
export const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many}`;
export const words = (name) => name.replaceAll('_', ' ');
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// fixed returns what %.*f does in Go, which rounds a half to even: toFixed rounds it up.
function fixed(n, digits) {
  const half = (n * 2 ** (digits + 1)) % 2 === 1;
  const text = n.toFixed(digits);
  return half && text.at(-1) % 2 ? (n - 0.5 * 0.1 ** digits).toFixed(digits) : text;
}

// duration returns seconds in the two largest units that matter.
export function duration(seconds) {
  if (seconds == null) return UNKNOWN;
  if (seconds < 0) return `-${duration(-seconds)}`; // measured by two clocks that differ
  if (seconds < 0.00005) return '0 ms';
  if (seconds < 0.00995) return `${fixed(seconds * 1000, 1)} ms`;
  if (seconds < 0.9995) return `${fixed(seconds * 1000, 0)} ms`;
  if (seconds < 9.95) return `${fixed(seconds, 1)} s`;
  const s = Math.round(seconds);
  const two = (unit, name, part, partName) => {
    const rest = Math.floor((s % unit) / part);
    return `${Math.floor(s / unit)} ${name}${rest ? ` ${rest} ${partName}` : ''}`;
  };
  if (s < 60) return `${s} s`;
  if (s < HOUR) return two(60, 'min', 1, 's');
  if (s < DAY) return two(HOUR, 'h', 60, 'min');
  return two(DAY, 'd', HOUR, 'h');
}

// ago returns an age in whole seconds: it is redrawn every second.
export function ago(seconds) {
  const s = Math.round(seconds);
  if (s < 1) return 'just now';
  return `${s < 60 ? `${s} s` : duration(s)} ago`;
}

export function bytes(n) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let i = 0;
  for (; n >= 999.5 && i < units.length - 1; i++) n /= 1000;
  return `${fixed(n, i && n < 9.95 ? 1 : 0)} ${units[i]}`;
}

export function rate(n) {
  if (n == null) return UNKNOWN;
  return `${n > 0 && n < 9.95 ? fixed(n, 1) : count(Math.round(n))}/s`;
}

// when returns a time of day, with the day unless that is today.
export function when(time) {
  if (!time) return UNKNOWN;
  const t = new Date(time);
  return (t.toDateString() === new Date().toDateString() ? clock : day).format(t);
}

export const toSecond = (seconds) => clock.format(seconds * 1000);
export const toMinute = (seconds) => hourMinute.format(seconds * 1000);
