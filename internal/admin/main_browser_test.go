//go:build browser

package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/admin"
	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/projector"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// elsewhere is a name that resolves to this machine, as that of an attacker can.
const elsewhere = "elsewhere.example"

// browser is a tab in a Chromium that runs for one test.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu         sync.Mutex
	complaints []string // errors of the console, violations of the policy
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	path := os.Getenv("CLERKSYNC_CHROMIUM")
	require.NotEmpty(t, path, "CLERKSYNC_CHROMIUM names the Chromium for the tests of the dashboard")
	temp := t.TempDir() // Chromium leaves files behind
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.Env("TMPDIR="+temp), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WSURLReadTimeout(testkit.Patience),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP "+elsewhere+" 127.0.0.1"), chromedp.WindowSize(1280, 900))...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx}
	require.NoError(t, chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *cdplog.EventEntryAdded:
			if e.Entry.Level == cdplog.EntryLevelError || e.Entry.Level == cdplog.EntryLevelWarning {
				b.complain(fmt.Sprint(e.Entry.Source, ": ", e.Entry.Text, " ", e.Entry.URL))
			}
		case *runtime.EventExceptionThrown:
			b.complain(fmt.Sprint("exception: ", e.ExceptionDetails.Text, " ", e.ExceptionDetails.Exception.Description))
		case *runtime.EventConsoleAPICalled:
			b.complain(fmt.Sprint("console.", e.Type))
		}
	}))
	b.run(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, cdplog.Enable, cdp.Empty{})
		return err
	}))
	return b
}

func (b *browser) complain(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, text)
}

// said returns the complaints since the last call.
func (b *browser) said() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	said := b.complaints
	b.complaints = nil
	return said
}

func (b *browser) run(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, steps...))
}

// click waits until each selector finds something visible, and clicks it.
func (b *browser) click(selectors ...chromedp.CSS) {
	b.t.Helper()
	for _, selector := range selectors {
		b.run(chromedp.Click(selector))
	}
}

// tap clicks what a selector finds, wherever it is: a click by coordinates misses what
// moves while the page scrolls to it.
func (b *browser) tap(selector string) {
	b.t.Helper()
	b.eval(fmt.Sprintf("void document.querySelector(%q).click()", selector))
}

func (b *browser) open(url string) {
	b.t.Helper()
	b.run(chromedp.Navigate(url))
}

// eval returns the value of an expression as JSON. It waits for a promise.
func (b *browser) eval(expression string) string {
	b.t.Helper()
	value, err := b.try(expression)
	require.NoError(b.t, err, expression)
	return value
}

func (b *browser) try(expression string) (string, error) {
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[any]("(async () => ("+expression+"))()", chromedp.EvalAwaitPromise))
	text, _ := json.Marshal(value)
	return string(text), err
}

// await waits until an expression has a value, given as JSON.
func (b *browser) await(expression, want string) {
	b.t.Helper()
	testkit.Eventually(b.t, expression+" is "+want, func() (bool, any) {
		got, err := b.try(expression)
		b.mu.Lock()
		defer b.mu.Unlock()
		return err == nil && got == want, fmt.Sprint(got, " ", err, " ", b.complaints)
	})
}

func text(selector string) string {
	return fmt.Sprintf("document.querySelector(%q)?.textContent", selector)
}

// press presses keys in order.
func (b *browser) press(keys ...string) {
	b.t.Helper()
	for _, key := range keys {
		b.run(chromedp.KeyEvent(key))
	}
}

const (
	enter  = kb.Enter
	escape = kb.Escape
	tab    = kb.Tab
)

// picture saves a screenshot of the whole page, and glimpse one of the viewport, in the
// folder that CLERKSYNC_SCREENSHOTS names, if it does.
func (b *browser) picture(name string) { b.save(name, chromedp.FullScreenshot(100)) }
func (b *browser) glimpse(name string) { b.save(name, chromedp.CaptureScreenshot()) }

func (b *browser) save(name string, shoot chromedp.Action[[]byte]) {
	b.t.Helper()
	dir := os.Getenv("CLERKSYNC_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, shoot)
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644))
}

// scene is a dashboard on a listener with a real log, real tables and a real worker.
type scene struct {
	*world
	store   *store.Store
	address string

	mu     sync.Mutex
	counts prometheus.Gatherer // of the worker
}

// newScene returns a scene that measures, unless the options name another watch. No
// worker runs yet.
func newScene(t *testing.T, change ...func(*admin.Options)) *scene {
	t.Helper()
	s := &scene{store: testkit.Store(t), counts: prometheus.NewRegistry()}
	s.world = newWorld(t, append([]func(*admin.Options){func(o *admin.Options) {
		logger := slog.New(slog.DiscardHandler)
		watch := lag.NewWatch(lag.NewMeter(o.Log, s.store, true, logger), s)
		watch.Start()
		t.Cleanup(func() { require.NoError(t, watch.Stop(context.Background())) })
		o.Store, o.Watch = s.store, watch
	}}, change...)...)
	s.serve("127.0.0.1:0")
	return s
}

// Gather implements prometheus.Gatherer.
func (s *scene) Gather() ([]*dto.MetricFamily, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts.Gather()
}

// serve serves the dashboard until stop is called.
func (s *scene) serve(address string) (stop func()) {
	s.t.Helper()
	listener, err := net.Listen("tcp", address)
	require.NoError(s.t, err)
	s.address = listener.Addr().String()
	server := &http.Server{Handler: s.world}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener)
	}()
	stop = sync.OnceFunc(func() {
		_ = server.Close()
		<-ended
	})
	s.t.Cleanup(stop)
	return stop
}

// url returns the address of the page under a host name.
func (s *scene) url(name string) string {
	_, port, err := net.SplitHostPort(s.address)
	require.NoError(s.t, err)
	return "http://" + name + ":" + port + "/"
}

// work starts a worker. pause stops it.
func (s *scene) work() (pause func()) {
	s.t.Helper()
	registry := prometheus.NewRegistry()
	p := projector.New(projector.Options{Log: s.log, Apply: s.store.Apply, Registry: registry})
	s.mu.Lock()
	s.counts = registry
	s.mu.Unlock()
	p.Start()
	pause = sync.OnceFunc(func() { require.NoError(s.t, p.Stop(context.Background())) })
	s.t.Cleanup(pause)
	return pause
}

// attend answers the roll call as one worker.
func (s *scene) attend() {
	s.t.Helper()
	stop, err := lag.Attend(s.log, func() lag.Process {
		return lag.Process{Worker: &lag.Worker{Name: "worker-1:7", Version: "v0.0.0-test", StartedAt: time.Now().Add(-time.Hour), Appliers: 4, Busy: 1, Applied: 12}}
	})
	require.NoError(s.t, err)
	s.t.Cleanup(stop)
}

// users returns the Clerk ids of the users that have a row.
func (s *scene) users() (ids []string) {
	s.t.Helper()
	err := s.store.Pool().QueryRow(s.t.Context(), "SELECT array_agg(clerk_id ORDER BY clerk_id) FROM users").Scan(&ids)
	require.NoError(s.t, err)
	return ids
}
