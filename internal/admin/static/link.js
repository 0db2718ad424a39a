// Logs in by a link of clerksync dashboard: posts the code that is in the fragment of its
// URL, once it is out of the address bar and the history.
const code = location.hash.slice(1);
history.replaceState(null, '', '/login');
if (code) {
  const field = document.querySelector('#code');
  field.value = code;
  field.form.submit();
}
