//go:build browser

package admin_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/admin"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestPageFollowsTheLag: the page shows that a paused worker falls behind and that a
// new one catches up.
func TestPageFollowsTheLag(t *testing.T) {
	s := newScene(t)
	b := newBrowser(t)
	s.attend()
	pause := s.work()
	s.append(user(1), user(2))
	b.open(s.url("localhost"))
	b.await(text("#state"), `"In step"`)
	b.await(text("#pending"), `"0"`)
	b.await(text("#workers-rows td"), `"worker-1:7"`)
	b.await(`document.querySelector("#end").textContent !== "–"`, "true")
	b.await(`document.querySelectorAll("#events-rows tr").length`, "2")
	b.await(text("#live")+`.startsWith("Live, ")`, "true")
	b.open(s.url("localhost")) // its first reading had no worker yet
	b.await(text("#state"), `"In step"`)
	require.Equal(t, `""`, b.eval(text("#announce")), "the first verdict is in the heading already")

	pause()
	s.append(user(3), user(4), user(5))
	b.await(text("#pending"), `"3"`)
	b.await(text("#state"), `"Behind"`)
	b.await(`document.title`, `"● Behind · clerksync"`)
	b.await(text("#announce")+`.startsWith("Behind. ")`, "true")
	b.await(`document.querySelectorAll("#events-rows tr").length`, "5")
	b.await(`/^[1-9][0-9.]* s$/.test(document.querySelector("#oldest").textContent)`, "true")

	s.work()
	b.await(text("#state"), `"In step"`)
	b.await(text("#pending"), `"0"`)
	b.await(text("#announce")+`.startsWith("In step. ")`, "true")
	b.await(`document.querySelectorAll(".chart canvas").length >= 3`, "true")
	require.Empty(t, b.said())
}

// TestPageSaysThatItIsOld: the page marks old figures, and recovers by itself.
func TestPageSaysThatItIsOld(t *testing.T) {
	w := &watch{}
	s := &scene{world: newWorld(t, func(o *admin.Options) { o.Watch = w })}
	stop := s.serve("127.0.0.1:0")
	b := newBrowser(t)
	b.open(s.url("localhost"))
	b.await(text("#state"), `"Measuring…"`)
	w.measure(time.Now(), "in step")
	b.await(text("#state"), `"In step"`)
	b.await(text("#why"), `"Every event received is in the tables."`)
	require.Equal(t, `true`, b.eval(`document.querySelector("#banner").hidden`))

	stop()
	b.await(text("#state"), `"Not known"`)
	b.await(text("#banner")+`.startsWith("Disconnected since ")`, "true")
	b.await(text("#banner")+`.includes("These figures were measured at ")`, "true")
	b.await(text("#live"), `"Disconnected"`)
	b.await(`document.title`, `"Not known · clerksync"`)
	b.await(`document.body.classList.contains("old")`, "true")
	b.await(text("#why")+`.startsWith("Last known, ")`, "true")
	b.await(text("#announce")+`.startsWith("Disconnected since ")`, "true")
	b.picture("lost")

	s.serve(s.address)
	w.measure(time.Now(), "in step")
	b.await(text("#state"), `"In step"`)
	b.await(`document.querySelector("#banner").hidden`, "true")
	b.await(`document.body.classList.contains("old")`, "false")

	// The connection works, and nothing is measured any more.
	w.measure(time.Now().Add(-time.Minute), "in step")
	b.await(text("#state"), `"Not known"`)
	b.await(text("#banner")+`.startsWith("No new measurement: ")`, "true")
}

// TestPageReloadsForAnotherProcess, which has other tokens.
func TestPageReloadsForAnotherProcess(t *testing.T) {
	w := &watch{}
	s := &scene{world: newWorld(t, func(o *admin.Options) { o.Watch = w })}
	stop := s.serve("127.0.0.1:0")
	w.measure(time.Now(), "in step")
	b := newBrowser(t)
	b.open(s.url("localhost"))
	b.await(text("#state"), `"In step"`)
	before := b.eval(`document.querySelector("meta[name=clerksync-run]").content`)

	stop()
	next := &scene{world: newWorld(t, func(o *admin.Options) { o.Watch = w })}
	next.serve(s.address)
	b.await(`document.querySelector("meta[name=clerksync-run]")?.content !== `+before, "true")
	b.await(text("#state"), `"In step"`)
	next.park(user(1), "refused", 0)
	require.Equal(t, "200", b.eval(`fetch("/letters/1/discard", {method: "POST", headers: {"Clerksync-Action": document.querySelector("meta[name=clerksync-action]").content}}).then((r) => r.status)`))
}

// TestLetterIsRetriedFromThePage, and another one discarded.
func TestLetterIsRetriedFromThePage(t *testing.T) {
	s := newScene(t)
	b := newBrowser(t)
	seq := s.append(user(1))
	s.park(user(1), "refused", seq)
	s.park(user(2), "refused", 0)
	s.park(user(3), "wrong_instance", 0)
	b.open(s.url("localhost"))
	b.await(`document.querySelectorAll("#letters-groups .reason").length`, "2")
	b.await(`[...document.querySelectorAll("#letters-groups h3")].map((h) => h.textContent)`, `["refused · 2","wrong instance · 1"]`)
	b.click(`[aria-label="Open dead letter 1"]`)
	b.await(text("#details-title"), `"Dead letter 1"`)
	b.await(text("#details-actions .primary"), `"Retry it"`)
	require.Contains(t, b.eval(text("#details-facts")), "the text of the error")
	require.Equal(t, "false", b.eval(`document.documentElement.outerHTML.includes("example.com")`))
	b.click("#details-actions .primary")
	b.await(text("#details-result"), `"Applied: the row is what this event says."`)
	require.Len(t, s.letters(), 2)
	require.Equal(t, []string{"user_1"}, s.users())
	b.await(`document.querySelector("[aria-label='Open dead letter 1']")`, "null")
	b.click("#details-close")
	b.await(`document.activeElement.id`, `"letters-title"`) // its button is gone

	// Discard asks first.
	b.click(`[aria-label="Open dead letter 3"]`)
	b.click("#details-discard")
	b.await(text("#details-question"), `"Delete dead letter 3 for good? Its event is nowhere else: it was parked on arrival."`)
	b.await(`document.activeElement.id`, `"details-keep"`)
	b.press(enter)
	b.await(`document.querySelector("#details-confirm").hidden`, "true")
	require.Len(t, s.letters(), 2)
	b.await(`document.activeElement.id`, `"details-discard"`)
	b.press(enter)
	b.click("#details-delete")
	b.await(text("#details-result"), `"It is deleted for good."`)
	letters := s.letters()
	require.Len(t, letters, 1)
	require.EqualValues(t, 2, letters[0].Seq)
	require.Empty(t, b.said())
}

// TestEventIsReplayedFromThePage, and its body shown on request.
func TestEventIsReplayedFromThePage(t *testing.T) {
	s := newScene(t)
	b := newBrowser(t)
	hostile := user(1)
	hostile.Body = []byte(`{"type":"user.created","data":{"id":"user_1","first_name":"<img src=x onerror=document.title='broken'>` + secret + `","updated_at":1}}`)
	s.append(hostile, user(2), membership(2))
	b.open(s.url("localhost"))
	b.await(`document.querySelectorAll("#events-rows tr").length`, "3")

	b.click(`[aria-label="Open event 1"]`)
	b.click("#details-actions .primary")
	b.await(text("#details-result"), `"Applied: the row is what this event says."`)
	require.Equal(t, []string{"user_1"}, s.users())

	require.Equal(t, "false", b.eval(`document.documentElement.outerHTML.includes("example.com")`))
	b.click("#details-actions button:last-child")
	b.await(text("#details-body")+`.includes("<img src=x")`, "true")
	require.Equal(t, "0", b.eval(`document.querySelectorAll("#details-body img").length`))
	b.glimpse("body")
	b.click("#details-close")
	b.await(`document.documentElement.outerHTML.includes("example.com")`, "false") // closing forgets it
	require.Empty(t, b.said())
}

// TestDialogByKeyboard: the dialog opens, keeps the focus, closes, and gives it back.
func TestDialogByKeyboard(t *testing.T) {
	s := newScene(t)
	b := newBrowser(t)
	s.append(user(1), user(2))
	b.open(s.url("localhost"))
	b.await(`document.querySelectorAll("#events-rows tr").length`, "2")
	b.eval(`document.querySelector("[aria-label='Open event 2']").focus()`)
	b.press(enter)
	b.await(`document.querySelector("#details").open`, "true")
	b.await(`document.activeElement.id`, `"details-title"`)
	b.await(`document.querySelectorAll("#details-actions button").length`, "2")
	for range 12 {
		b.press(tab)
		require.Contains(t, []string{"true", "null"}, b.eval(`document.activeElement === document.body ? null : document.querySelector("#details").contains(document.activeElement)`))
	}
	b.press(escape)
	b.await(`document.querySelector("#details").open`, "false")
	b.await(`document.activeElement.getAttribute("aria-label")`, `"Open event 2"`)

	// New events do not take the focus away.
	s.append(user(3))
	b.await(`document.querySelectorAll("#events-rows tr").length`, "3")
	require.Equal(t, `"Open event 2"`, b.eval(`document.activeElement.getAttribute("aria-label")`))

	// Every control has a name, and the first skips the navigation.
	require.Equal(t, "[]", b.eval(`[...document.querySelectorAll("button, input")].filter((e) => !(e.labels?.length || e.ariaLabel || e.textContent.trim())).map((e) => e.outerHTML)`))
	require.Equal(t, `["H1","H2","H2","H2","H2","H2"]`, b.eval(`[...document.querySelectorAll("main h1, main h2")].map((h) => h.tagName)`))
	b.open(s.url("localhost"))
	b.press(tab)
	require.Equal(t, `"Skip to the content"`, b.eval(`document.activeElement.textContent`))
	b.press(enter)
	b.await(`document.activeElement.id`, `"main"`)
	require.Empty(t, b.said())
}

// TestForeignPagesChangeNothing: neither a page of another origin nor one without the token.
func TestForeignPagesChangeNothing(t *testing.T) {
	s := newScene(t)
	b := newBrowser(t)
	s.append(user(1))
	s.park(user(1), "refused", 1)
	paths := []string{"events/1/replay", "letters/1/retry", "letters/1/discard"}

	b.open(s.url("localhost"))
	for _, path := range paths {
		require.Equal(t, "403", b.eval(fmt.Sprintf(`fetch("/%s", {method: "POST"}).then((r) => r.status)`, path)))
	}

	attacker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		for _, path := range paths {
			fmt.Fprintf(w, `<form method="post" action="%s%s"></form>`, s.url("localhost"), path)
		}
	}))
	defer attacker.Close()
	for i, path := range paths {
		b.open(attacker.URL)
		require.Equal(t, `"opaque"`, b.eval(fmt.Sprintf(`fetch("%s%s", {method: "POST", mode: "no-cors"}).then((r) => r.type)`, s.url("localhost"), path)))
		b.eval(fmt.Sprintf(`void document.forms[%d].submit()`, i))
		b.await(`document.body?.textContent.trim()`, `"this was asked for by a page of another origin: open the dashboard itself"`)
	}
	require.Len(t, s.letters(), 1)
	require.Empty(t, s.users())

	// Under a name that resolves to this machine, a page has the same origin.
	b.open(s.url(elsewhere))
	require.Contains(t, b.eval(`document.body.textContent`), "this listener is on the loopback, and was requested by another name")
	require.Equal(t, "403", b.eval(`fetch("/events").then((r) => r.status)`))
}

// TestLoginInTheBrowser over plain HTTP and under a name: there a browser sends no
// Sec-Fetch-Site with the form.
func TestLoginInTheBrowser(t *testing.T) {
	s := newScene(t, withToken)
	s.attend()
	b := newBrowser(t)
	b.open(s.url(elsewhere))
	b.await(`location.pathname`, `"/login"`)
	b.await(`document.activeElement.id`, `"token"`)
	b.picture("login")
	b.run(chromedp.SendKeys(chromedp.CSS("#token"), "wrong"+enter))
	b.await(text("#fault"), `"the token is wrong: it is CLERKSYNC_ADMIN_TOKEN"`)
	b.said() // the browser logs the 401
	b.run(chromedp.SendKeys(chromedp.CSS("#token"), adminToken+enter))
	b.await(`location.pathname`, `"/"`)
	b.await(text("#state"), `"In step"`)
	require.Equal(t, `""`, b.eval(`document.cookie`), "no script can read it")

	s.park(user(1), "refused", 0)
	b.await(`document.querySelectorAll("#letters-groups tbody tr").length`, "1")
	b.click(`[aria-label="Open dead letter 1"]`, "#details-discard", "#details-delete")
	b.await(text("#details-result"), `"It is deleted for good."`)
	require.Empty(t, s.letters())
	b.click("#details-close", "#logout")
	b.await(`location.pathname`, `"/login"`)
	require.Empty(t, b.said())
	require.Equal(t, "401", b.eval(`fetch("/events").then((r) => r.status)`))
}

// TestPolicyHolds: injected markup does nothing, and the browser reports it, so that
// said is empty in no test with a violation.
func TestPolicyHolds(t *testing.T) {
	s := newScene(t)
	s.attend()
	b := newBrowser(t)
	b.open(s.url("localhost"))
	b.await(text("#state"), `"In step"`)
	require.Empty(t, b.said())
	b.eval(`void document.body.insertAdjacentHTML("beforeend", "<p id=probe style='color: red' onclick='document.title=1'>probe</p><img src='http://attacker.example/x'>")`)
	b.eval(`void document.querySelector("#probe").click()`)
	require.Equal(t, `false`, b.eval(`getComputedStyle(document.querySelector("#probe")).color === "rgb(255, 0, 0)"`))
	require.Equal(t, `"In step · clerksync"`, b.eval(`document.title`))
	require.NotEmpty(t, b.said())
}

// TestHiddenPageHoldsNoConnection: a browser has six for each host.
func TestHiddenPageHoldsNoConnection(t *testing.T) {
	w := &watch{}
	s := &scene{world: newWorld(t, func(o *admin.Options) { o.Watch = w })}
	s.serve("127.0.0.1:0")
	w.measure(time.Now(), "in step")
	b := newBrowser(t)
	b.open(s.url("localhost"))
	b.await(text("#state"), `"In step"`)
	see := func(hidden bool) {
		b.eval(fmt.Sprintf(`void (Object.defineProperty(document, "hidden", {value: %t, configurable: true}), document.dispatchEvent(new Event("visibilitychange")))`, hidden))
	}
	see(true)
	b.await(`document.title`, `"clerksync"`)
	testkit.Eventually(t, "no listener is left", func() (bool, any) { return w.listeners() == 0, w.listeners() })
	see(false)
	b.await(`document.title`, `"In step · clerksync"`)
	require.Equal(t, 1, w.listeners())
	require.Empty(t, b.said())
}

// TestPageSpellsDurations as the verdict and the command line do.
func TestPageSpellsDurations(t *testing.T) {
	b := newBrowser(t)
	b.open(newScene(t).url("localhost"))
	for seconds, want := range map[string]string{
		"null": "–", "0": "0 ms", "0.00004": "0 ms", "0.00006": "0.1 ms", "0.0023": "2.3 ms", "0.00996": "10 ms", "0.0125": "12 ms", "0.183": "183 ms",
		"0.9996": "1.0 s", "1.25": "1.2 s", "9.94": "9.9 s", "9.96": "10 s", "59.4": "59 s", "59.6": "1 min", "130": "2 min 10 s", "3599.6": "1 h",
		"11100": "3 h 5 min", "86399.6": "1 d", "187200": "2 d 4 h", "-0.3": "-300 ms",
	} {
		require.Equal(t, fmt.Sprintf("%q", want), b.eval(`import("/static/units.js").then((units) => units.duration(`+seconds+`))`), seconds)
	}
}
