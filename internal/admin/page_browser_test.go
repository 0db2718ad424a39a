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

// TestPageFollowsTheLag: it moves when the worker is paused, and recovers when it
// goes on.
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
	require.Equal(t, `""`, b.eval(text("#announce")), "the first verdict is not read out twice")

	pause()
	s.append(user(3), user(4), user(5))
	b.await(text("#pending"), `"3"`)
	b.await(text("#state"), `"Behind"`)
	b.await(`document.title`, `"Behind · clerksync"`)
	b.await(text("#announce")+`.startsWith("Behind. Behind by ")`, "true")
	b.await(`document.querySelectorAll("#events-rows tr").length`, "5")
	b.await(`/^[1-9][0-9.]* s$/.test(document.querySelector("#oldest").textContent)`, "true")

	s.work()
	b.await(text("#state"), `"In step"`)
	b.await(text("#pending"), `"0"`)
	b.await(text("#announce")+`.startsWith("In step. ")`, "true")
	b.await(`document.querySelectorAll(".chart canvas").length >= 3`, "true")
	require.Empty(t, b.said())
}

// TestPageSaysThatItIsOld: a figure that is not of now does not look as if it were,
// and the page goes on by itself.
func TestPageSaysThatItIsOld(t *testing.T) {
	w := &watch{}
	s := &scene{world: newWorld(t, func(o *admin.Options) { o.Watch = w })}
	stop := s.serve("127.0.0.1:0")
	b := newBrowser(t)
	b.open(s.url("localhost"))
	b.await(text("#state"), `"Measuring…"`)
	w.measure(time.Now(), "in step")
	b.await(text("#state"), `"In step"`)
	b.await(text("#why"), `"All that was received is in the tables."`)
	require.Equal(t, `true`, b.eval(`document.querySelector("#banner").hidden`))

	stop()
	b.await(text("#state"), `"Not known"`)
	b.await(text("#banner")+`.startsWith("The connection is lost since ")`, "true")
	b.await(text("#banner")+`.includes("What is shown was measured at ")`, "true")
	b.await(text("#live"), `"Not connected"`)
	b.await(`document.title`, `"Not known · clerksync"`)
	b.await(`document.body.classList.contains("old")`, "true")
	b.await(text("#why")+`.startsWith("Last known, ")`, "true")
	b.await(text("#announce")+`.startsWith("The connection is lost")`, "true")
	b.picture("lost")

	s.serve(s.address)
	w.measure(time.Now(), "in step")
	b.await(text("#state"), `"In step"`)
	b.await(`document.querySelector("#banner").hidden`, "true")
	b.await(`document.body.classList.contains("old")`, "false")

	// The connection is there, and nothing is measured any more.
	w.measure(time.Now().Add(-time.Minute), "in step")
	b.await(text("#state"), `"Not known"`)
	b.await(text("#banner")+`.startsWith("Nothing was measured since ")`, "true")
}

// TestPageOfAnotherProcessIsLoadedAnew: its tokens are others.
func TestPageOfAnotherProcessIsLoadedAnew(t *testing.T) {
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
	require.Equal(t, "200", b.eval(`fetch("/letters/1/discard", {method: "POST", headers: {"Clerksync-Action": action}}).then((r) => r.status)`))
}

// TestLetterIsRetriedFromThePage.
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
	b.click(`[aria-label="Look at dead letter 1"]`)
	b.await(text("#look-title"), `"Dead letter 1"`)
	b.await(text("#look-actions .primary"), `"Retry it"`)
	require.Contains(t, b.eval(text("#look-facts")), "the text of the error")
	require.Equal(t, "false", b.eval(`document.documentElement.outerHTML.includes("example.com")`))
	b.click("#look-actions .primary")
	b.await(text("#look-result"), `"Applied: the row is what this event says."`)
	require.Len(t, s.letters(), 2)
	require.Equal(t, []string{"user_1"}, s.users())
	b.await(`document.querySelector("[aria-label='Look at dead letter 1']")`, "null")
	b.click("#look-close")
	b.await(`document.activeElement.id`, `"letters-title"`) // what was looked at is gone

	// Discard asks first.
	b.click(`[aria-label="Look at dead letter 3"]`)
	b.click("#look-discard")
	b.await(text("#look-question"), `"Delete dead letter 3 for good? Its event is nowhere else: it was parked on its arrival."`)
	b.await(`document.activeElement.id`, `"look-no"`)
	b.press(enter)
	b.await(`document.querySelector("#look-confirm").hidden`, "true")
	require.Len(t, s.letters(), 2)
	b.await(`document.activeElement.id`, `"look-discard"`)
	b.press(enter)
	b.click("#look-yes")
	b.await(text("#look-result"), `"It is deleted for good."`)
	letters := s.letters()
	require.Len(t, letters, 1)
	require.EqualValues(t, 2, letters[0].Seq)
	require.Empty(t, b.said())
}

// TestEventIsReplayedFromThePage, and its body shown when it is asked for.
func TestEventIsReplayedFromThePage(t *testing.T) {
	s := newScene(t)
	b := newBrowser(t)
	hostile := user(1)
	hostile.Body = []byte(`{"type":"user.created","data":{"id":"user_1","first_name":"<img src=x onerror=document.title='broken'>` + secret + `","updated_at":1}}`)
	s.append(hostile, user(2), membership(2))
	b.open(s.url("localhost"))
	b.await(`document.querySelectorAll("#events-rows tr").length`, "3")

	b.run(chromedp.SetValue(chromedp.CSS("#filter-type"), "user.*"), chromedp.SetValue(chromedp.CSS("#filter-user"), secret), chromedp.Click(chromedp.CSS("#filter .primary")))
	b.await(text("#events-fault"), `"the user is a Clerk id of the form user_…; clerksync show with an e-mail address tells it"`)
	b.said() // the browser says that the answer was 400
	b.run(chromedp.SetValue(chromedp.CSS("#filter-user"), "user_1"), chromedp.Click(chromedp.CSS("#filter .primary")))
	b.await(`[...document.querySelectorAll("#events-rows tr")].map((row) => row.dataset.key)`, `["1"]`)
	b.await(`document.querySelector("#events-fault").hidden`, "true")

	b.click(`[aria-label="Look at event 1"]`)
	b.click("#look-actions .primary")
	b.await(text("#look-result"), `"Applied: the row is what this event says."`)
	require.Equal(t, []string{"user_1"}, s.users())

	require.Equal(t, "false", b.eval(`document.documentElement.outerHTML.includes("example.com")`))
	b.click("#look-actions button:last-child")
	b.await(text("#look-body pre")+`.includes("<img src=x")`, "true")
	require.Equal(t, "0", b.eval(`document.querySelectorAll("#look-body img").length`))
	b.glimpse("body")
	b.click("#look-close")
	b.await(`document.documentElement.outerHTML.includes("example.com")`, "false") // it is forgotten with the dialog
	require.Empty(t, b.said())
}

// TestDialogByKeyboard: opened, walked through, closed, and the focus where it was.
func TestDialogByKeyboard(t *testing.T) {
	s := newScene(t)
	b := newBrowser(t)
	s.append(user(1), user(2))
	b.open(s.url("localhost"))
	b.await(`document.querySelectorAll("#events-rows tr").length`, "2")
	b.eval(`document.querySelector("[aria-label='Look at event 2']").focus()`)
	b.press(enter)
	b.await(`document.querySelector("#look").open`, "true")
	b.await(`document.activeElement.id`, `"look-title"`)
	b.await(`document.querySelectorAll("#look-actions button").length`, "2")
	for range 12 {
		b.press(tab)
		require.Contains(t, []string{"true", "null"}, b.eval(`document.activeElement === document.body ? null : document.querySelector("#look").contains(document.activeElement)`))
	}
	b.press(escape)
	b.await(`document.querySelector("#look").open`, "false")
	b.await(`document.activeElement.getAttribute("aria-label")`, `"Look at event 2"`)

	// New events do not take the focus away.
	s.append(user(3))
	b.await(`document.querySelectorAll("#events-rows tr").length`, "3")
	require.Equal(t, `"Look at event 2"`, b.eval(`document.activeElement.getAttribute("aria-label")`))

	// Everything has a name, and the way past the navigation is the first thing.
	require.Equal(t, "[]", b.eval(`[...document.querySelectorAll("button, input")].filter((e) => !(e.labels?.length || e.ariaLabel || e.textContent.trim())).map((e) => e.outerHTML)`))
	require.Equal(t, `["H1","H2","H2","H2","H2"]`, b.eval(`[...document.querySelectorAll("main h1, main h2")].map((h) => h.tagName)`))
	b.open(s.url("localhost"))
	b.press(tab)
	require.Equal(t, `"Skip to the content"`, b.eval(`document.activeElement.textContent`))
	b.press(enter)
	b.await(`document.activeElement.id`, `"main"`)
	require.Empty(t, b.said())
}

// TestOthersDoNothing: a page of another origin, and one without the token.
func TestOthersDoNothing(t *testing.T) {
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

	// By a name that leads here, that page is of the same origin.
	b.open(s.url(elsewhere))
	require.Contains(t, b.eval(`document.body.textContent`), "this listener is on the loopback, and is asked for by another name")
	require.Equal(t, "403", b.eval(`fetch("/events").then((r) => r.status)`))
}

// TestLoginInTheBrowser over plain HTTP and by a name, where a browser says least of
// where a form was.
func TestLoginInTheBrowser(t *testing.T) {
	s := newScene(t, withToken)
	b := newBrowser(t)
	b.open(s.url(elsewhere))
	b.await(`location.pathname`, `"/login"`)
	b.await(`document.activeElement.id`, `"token"`)
	b.picture("login")
	b.run(chromedp.SendKeys(chromedp.CSS("#token"), "wrong"+enter))
	b.await(text("#fault"), `"the token is wrong: it is CLERKSYNC_ADMIN_TOKEN"`)
	b.said() // the browser says that the answer was 401
	b.run(chromedp.SendKeys(chromedp.CSS("#token"), adminToken+enter))
	b.await(`location.pathname`, `"/"`)
	b.await(text("#state"), `"In step"`)
	require.Equal(t, `""`, b.eval(`document.cookie`), "no script can read it")

	s.park(user(1), "refused", 0)
	b.await(`document.querySelectorAll("#letters-groups tbody tr").length`, "1")
	b.click(`[aria-label="Look at dead letter 1"]`, "#look-discard", "#look-yes")
	b.await(text("#look-result"), `"It is deleted for good."`)
	require.Empty(t, s.letters())
	b.click("#look-close", "#logout")
	b.await(`location.pathname`, `"/login"`)
	require.Empty(t, b.said())
	require.Equal(t, "401", b.eval(`fetch("/events").then((r) => r.status)`))
}

// TestPolicyHolds: what somebody would get into the page does nothing, and the tests
// above would see it.
func TestPolicyHolds(t *testing.T) {
	s := newScene(t)
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

// TestPageThatNobodySeesHoldsNoConnection: a browser has few for each host.
func TestPageThatNobodySeesHoldsNoConnection(t *testing.T) {
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
	testkit.Eventually(t, "nobody listens", func() (bool, any) { return w.listeners() == 0, w.listeners() })
	see(false)
	b.await(`document.title`, `"In step · clerksync"`)
	require.Equal(t, 1, w.listeners())
	require.Empty(t, b.said())
}
