//go:build browser

package admin_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/admin"
	"github.com/clerksync/clerksync/internal/lag"
)

// listed is the sequences of the events that the page lists.
const listed = `[...document.querySelectorAll("#events-rows tr")].map((row) => row.cells[0].textContent)`

// TestFilterLivesInTheAddress: the page can be sent as it is filtered, and Back undoes a
// step. An e-mail address does not get there.
func TestFilterLivesInTheAddress(t *testing.T) {
	s := newScene(t)
	b := newBrowser(t)
	s.append(user(1), user(2), membership(2))
	b.open(s.url("localhost") + "?type=user.*&user=user_2")
	b.await(listed, `["2"]`)
	require.Equal(t, `"user.*"`, b.eval(`document.querySelector("#filter-type").value`))

	b.tap("#filter [type=reset]")
	b.await(listed, `["3","2","1"]`)
	require.Equal(t, `""`, b.eval(`location.search`))
	b.run(chromedp.SetValue(chromedp.CSS("#filter-org"), "org_1"))
	b.tap("#filter .primary")
	b.await(listed, `["3"]`)
	require.Equal(t, `"?org=org_1"`, b.eval(`location.search`))
	b.eval(`void history.back()`)
	b.await(listed, `["3","2","1"]`)
	b.eval(`void history.back()`)
	b.await(listed, `["2"]`)
	require.Equal(t, `["user.*","user_2",""]`, b.eval(`["type", "user", "org"].map((name) => document.querySelector("#filter-" + name).value)`))

	b.run(chromedp.SetValue(chromedp.CSS("#filter-user"), secret))
	b.tap("#filter .primary")
	b.await(text("#filter-fault"), `"events are filtered by Clerk id: find that of an e-mail address under Synced data"`)
	require.NotContains(t, b.eval(`[location.href, ...performance.getEntriesByType("resource").map((r) => r.name)]`), "@")
	b.run(chromedp.SetValue(chromedp.CSS("#filter-user"), "user_1"))
	b.tap("#filter .primary")
	b.await(listed, `["1"]`)
	b.await(`document.querySelector("#filter-fault").hidden`, "true")
	require.Empty(t, b.said())

	b.run(chromedp.SetValue(chromedp.CSS("#filter-user"), "acme"))
	b.tap("#filter .primary")
	b.await(text("#events-fault")+`.startsWith("the user is not a Clerk id")`, "true")
}

// TestFindOne by e-mail address: its row, its head and its events, which can be opened.
func TestFindOne(t *testing.T) {
	s := newScene(t)
	b := newBrowser(t)
	s.work()
	s.append(user(1), updated(1, time.Second), membership(1))
	b.open(s.url("localhost"))
	b.await(`["user", "organization", "membership"].map((kind) => document.querySelector("#count-" + kind).textContent)`, `["1","1","1"]`)
	require.NotContains(t, b.eval(`document.documentElement.outerHTML`), secret)

	b.run(chromedp.SendKeys(chromedp.CSS("#filter-name"), "nobody"+secret+enter))
	b.await(text("#find-fault"), `"no user has this e-mail address"`)
	b.said() // the browser logs the 404
	b.eval(`void (document.querySelector("#filter-name").value = "")`)
	b.run(chromedp.SendKeys(chromedp.CSS("#filter-name"), "1"+secret+enter))
	b.await(text("#entity-state"), `"user, live"`)
	require.Equal(t, `""`, b.eval(`document.querySelector("#filter-name").value`))
	require.Equal(t, `"?entity=user_1"`, b.eval(`location.search`))
	require.Contains(t, b.eval(text("#entity-row")), "1"+secret)
	b.await(`document.activeElement.id`, `"entity-title"`)
	require.Equal(t, `[["2","applied"],["1","superseded"]]`, b.eval(`[...document.querySelectorAll("#entity-events tr")].map((row) => [row.cells[0], row.cells[2]].map((cell) => cell.textContent))`))
	require.NotContains(t, b.eval(`[location.href, ...performance.getEntriesByType("resource").map((r) => r.name)]`), "@")

	// A row is clicked, and from its dialog another entity is opened.
	b.tap("#entity-events tr:nth-child(2) td")
	b.await(text("#details-title"), `"Event 1"`)
	b.await(text("#details-facts dd")+`.startsWith("superseded: ")`, "true")
	b.tap("#details-close")
	b.await(listed, `["3","2","1"]`)
	b.tap("#events-rows tr:first-child .id .link")
	b.await(text("#entity-state"), `"membership, live"`)
	b.await(`document.activeElement.id`, `"entity-title"`)
	b.tap("#events-rows tr:first-child td")
	b.await(text("#details-title"), `"Event 3"`)
	b.await(`document.querySelectorAll("#details .link").length`, "3")
	b.eval(`void [...document.querySelectorAll("#details .link")].find((link) => link.textContent === "org_1").click()`)
	b.await(text("#entity-state"), `"organization, stub"`)
	b.await(`document.querySelector("#details").open`, "false")
	b.tap("#entity .pager button")
	b.await(listed, `["3"]`)

	b.eval(`void history.go(-3)`)
	b.await(text("#entity-state"), `"user, live"`)
	b.tap("#entity-close")
	b.await(`document.documentElement.outerHTML.includes("1`+secret+`")`, "false") // it is forgotten
	require.Empty(t, b.said())
}

// TestIdsCanBeCopied.
func TestIdsCanBeCopied(t *testing.T) {
	s := newScene(t)
	b := newBrowser(t)
	s.append(user(1))
	b.open(s.url("localhost"))
	b.await(listed, `["1"]`)
	b.eval(`void document.addEventListener("copy", () => { window.copied = getSelection().toString(); })`)
	b.eval(`void Object.defineProperty(navigator, "clipboard", {value: undefined})`) // as over plain HTTP
	b.click("#events-rows .id .copy")                                                // a script may not copy without one
	b.await(`window.copied`, `"user_1"`)
	b.await(text("#events-rows .id .copy"), `"✓"`)
	b.await(text("#events-rows .id .copy"), `"⧉"`)
	require.Equal(t, "false", b.eval(`document.querySelector("#details").open`), "the row was not opened")
	require.Empty(t, b.said())
}

// TestEmptyPageTellsTheNextStep, until something was received.
func TestEmptyPageTellsTheNextStep(t *testing.T) {
	s := newScene(t, func(o *admin.Options) {
		o.Endpoint = "http://127.0.0.1:8080/api/webhooks/clerk"
	})
	b := newBrowser(t)
	b.open(s.url("localhost"))
	b.await(text("#empty code"), `"http://127.0.0.1:8080/api/webhooks/clerk"`)
	require.Contains(t, b.eval(text("#empty")), "It is on this machine: Clerk needs a public https address")
	require.Contains(t, b.eval(text("#empty")), "CLERK_WEBHOOK_SIGNING_SECRET")
	b.picture("empty")
	s.append(user(1))
	b.await(`document.querySelector("#empty")`, "null")
	require.Empty(t, b.said())
}

// TestRangeOfTime: it is chosen, kept in the address, and shows what is kept.
func TestRangeOfTime(t *testing.T) {
	w := &watch{}
	s := &scene{world: newWorld(t, func(o *admin.Options) { o.Watch = w })}
	s.serve("127.0.0.1:0")
	now := time.Now()
	for i := range 300 { // 10 hours
		w.history = append(w.history, lag.Sample{At: now.Add(time.Duration(i-300) * 2 * time.Minute), Pending: new(uint64(i))})
	}
	w.measure(now, "in step")
	b := newBrowser(t)
	b.open(s.url("localhost"))
	b.await(text("#state"), `"In step"`)
	// first is the number of events that were pending at the left end of the chart.
	b.eval(`void (window.first = () => {
		const over = document.querySelectorAll("#lag .u-over")[1];
		const {left, top} = over.getBoundingClientRect();
		over.dispatchEvent(new MouseEvent("mouseenter"));
		over.dispatchEvent(new MouseEvent("mousemove", {clientX: left + 1, clientY: top + 50, bubbles: true}));
		return over.closest("figure").querySelector(".u-legend tr:nth-child(2) .u-value").textContent;
	})`)
	b.await(`first()`, `"270"`)
	b.tap(".ranges button:nth-child(3)")
	require.Equal(t, `"?range=24h"`, b.eval(`location.search`))
	b.await(`first()`, `"0"`)
	require.Equal(t, `["false","false","true"]`, b.eval(`[...document.querySelectorAll(".ranges button")].map((button) => button.getAttribute("aria-pressed"))`))
	b.picture("range")
	b.tap(".ranges button:nth-child(1)")
	b.await(`first()`, `"293"`)
	b.eval(`void history.back()`)
	b.await(`first()`, `"0"`)
	require.Empty(t, b.said())
}

// TestAxisLabelsHaveRoom on every scale from milliseconds to days.
func TestAxisLabelsHaveRoom(t *testing.T) {
	b := newBrowser(t)
	b.open(newScene(t).url("localhost"))
	for _, scale := range []string{"0.001, 0.01", "0.001, 1", "0.001, 600", "0.01, 86400", "0.001, 864000", "0.001, 8640000", "1, 8640000"} {
		gaps := fmt.Sprintf(`import("/static/charts.js").then(({spaced}) => {
			const [min, max] = [%s];
			const at = spaced(min, max).map((mark) => Math.log(mark / min) / Math.log(max / min) * 148);
			return at.length > 1 && at.slice(1).every((y, i) => y - at[i] >= 24);
		})`, scale)
		require.Equal(t, "true", b.eval(gaps), scale)
	}
}
