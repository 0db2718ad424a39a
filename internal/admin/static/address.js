// The address of the page. Its query has the filter of the events, the range of the charts
// and the entity that is shown, so that it can be kept and sent. It gets ids, globs and
// numbers only, never an e-mail address.

const FIELDS = ['type', 'user', 'org', 'before', 'range', 'entity'];

export const personal = (value) => value.includes('@');

// read returns the fields of the address; those that are missing are ''.
export function read() {
  const query = new URLSearchParams(location.search);
  return Object.fromEntries(FIELDS.map((name) => [name, query.get(name) ?? '']));
}

// write changes fields, as a step that the browser's Back undoes.
export function write(change) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries({ ...read(), ...change })) if (value && !personal(String(value))) query.set(name, value);
  const search = query.size ? `?${query}` : '';
  if (search !== location.search) history.pushState(null, '', `${location.pathname}${search}`);
}
