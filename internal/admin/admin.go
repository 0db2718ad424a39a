package admin

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/receiver"
	"github.com/clerksync/clerksync/internal/store"
)

// Watch publishes readings; *[lag.Watch] implements it.
type Watch interface {
	Latest() *lag.Reading                 // nil before the first
	Subscribe() (<-chan struct{}, func()) // signals each reading, until the function is called
	History() []lag.Sample                // the oldest first
}

// Options configure a [Handler].
type Options struct {
	Checks   []Check             // of /readyz
	Gatherer prometheus.Gatherer // of /metrics
	Log      *eventlog.Log       // nil: there is no dashboard, and no /lag
	Meter    *lag.Meter          // of /lag
	Watch    Watch
	Store    *store.Store // nil: nothing can be retried or replayed from this process
	Instance string       // Clerk instance whose dead letters can be retried, "" when none is configured
	Token    string       // "": nobody can log in
	Open     Access       // needs no token
	Version  string
	Endpoint string // URL of the webhook, "" when this process does not know it
	Logger   *slog.Logger
}

// Handler serves the admin listener.
type Handler struct {
	o       Options
	handler http.Handler
	pages   *template.Template
	static  map[string]asset

	run      string // identifies this process to the page
	action   string // the action token where there are no sessions
	sessions sessions
	codes    codes
	guesses  guesses
	counts   overview
	acting   chan struct{} // one action at a time
	streams  chan struct{}

	closing chan struct{}
	close   func()
}

const (
	// maxStreams bounds the pages that are kept up to date.
	maxStreams = 32

	// maxBody is more than the login form needs; actions have no body.
	maxBody = 4 << 10

	// readTimeout bounds reading the event log for one answer.
	readTimeout = 10 * time.Second
)

//go:embed templates static
var files embed.FS

// New returns a handler. [Handler.Close] must be called before the server is shut down.
func New(o Options) (*Handler, error) {
	if o.Gatherer == nil || o.Log != nil && (o.Watch == nil || o.Meter == nil) {
		return nil, errors.New("make the admin handler: a gatherer is needed, and with an event log a watch and a meter")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	pages, err := template.ParseFS(files, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("read the pages of the dashboard: %w", err)
	}
	static, err := readStatic()
	if err != nil {
		return nil, fmt.Errorf("read the files of the dashboard: %w", err)
	}
	h := &Handler{
		o: o, pages: pages, static: static, run: rand.Text(), action: rand.Text(),
		acting: make(chan struct{}, 1), streams: make(chan struct{}, maxStreams), closing: make(chan struct{}),
	}
	h.close = sync.OnceFunc(func() { close(h.closing) })
	h.handler = h.routes()
	return h, nil
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.handler.ServeHTTP(w, r) }

// Close ends the streams, for which [http.Server.Shutdown] would wait. It may be called
// more than once.
func (h *Handler) Close() { h.close() }

func (h *Handler) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", healthz)
	mux.HandleFunc("GET /readyz", h.readyz)
	mux.HandleFunc("GET /metrics", h.guard(Readings, promhttp.HandlerFor(h.o.Gatherer, promhttp.HandlerOpts{
		// One collector that fails must not hide the others.
		ErrorHandling: promhttp.ContinueOnError,
	}).ServeHTTP))
	if h.o.Log != nil {
		h.routeDashboard(mux)
	} else {
		mux.HandleFunc("GET /", noDashboard)
	}
	return secure(h.checkHost(crossOrigin(http.MaxBytesHandler(mux, maxBody))))
}

func noDashboard(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "a process with the role api alone has /metrics, /readyz and /healthz only; the dashboard and /lag are on a receiver or a worker", http.StatusNotFound)
}

// routeDashboard adds the page, and what it reads.
func (h *Handler) routeDashboard(mux *http.ServeMux) {
	mux.HandleFunc("GET /lag", h.guard(Readings, h.lag))
	mux.HandleFunc("GET /{$}", h.page)
	mux.HandleFunc("GET /static/{file...}", h.asset)
	mux.HandleFunc("GET /login", h.loginPage)
	mux.HandleFunc("POST /login", h.login)
	mux.HandleFunc("GET /login/link", h.linkPage)
	mux.HandleFunc("POST /login/link", h.makeLink)
	mux.HandleFunc("POST /logout", h.requireAction(h.logout))

	mux.HandleFunc("GET /stream", h.requireLogin(h.stream))
	mux.HandleFunc("GET /events", h.requireLogin(h.listEvents))
	mux.HandleFunc("GET /events/{seq}", h.requireLogin(one(h.event)))
	mux.HandleFunc("GET /events/{seq}/body", h.requireLogin(one(h.eventBody)))
	mux.HandleFunc("POST /events/{seq}/replay", h.requireAction(one(h.replay)))
	mux.HandleFunc("GET /overview", h.requireLogin(h.overview))
	mux.HandleFunc("POST /find", h.requireAction(h.find))
	mux.HandleFunc("GET /entities/{id}", h.requireLogin(h.entity))
	mux.HandleFunc("GET /letters", h.requireLogin(h.listLetters))
	mux.HandleFunc("GET /letters/{seq}", h.requireLogin(one(h.letter)))
	mux.HandleFunc("GET /letters/{seq}/body", h.requireLogin(one(h.letterBody)))
	mux.HandleFunc("POST /letters/{seq}/retry", h.requireAction(one(h.retry)))
	mux.HandleFunc("POST /letters/{seq}/discard", h.requireAction(one(h.discard)))
}

// page serves the dashboard.
func (h *Handler) page(w http.ResponseWriter, r *http.Request) {
	action, err := h.authenticate(r)
	switch {
	case errors.Is(err, errNotLoggedIn):
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return
	case err != nil:
		deny(w, err)
		return
	}
	h.render(w, http.StatusOK, "page.html", struct {
		Version, Run, Action, Endpoint string
		CanApply, CanLogOut            bool
		Received                       []string
		Applied                        []store.Outcome
	}{h.o.Version, h.run, action, h.o.Endpoint, h.o.Store != nil, h.sessionOf(r) != nil, receiver.Outcomes(), store.Outcomes})
}

func (h *Handler) render(w http.ResponseWriter, status int, name string, data any) {
	var page bytes.Buffer
	if err := h.pages.ExecuteTemplate(&page, name, data); err != nil {
		h.o.Logger.Error("a page was not made", "page", name, "err", err)
		refuse(w, http.StatusInternalServerError, "the page could not be made; the log of clerksync tells why")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(page.Bytes())
}

// asset is a static file.
type asset struct {
	body              []byte
	contentType, etag string
}

// contentTypes are fixed here: the operating system's table may say anything.
var contentTypes = map[string]string{
	".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", "": "text/plain; charset=utf-8",
}

func readStatic() (map[string]asset, error) {
	all := map[string]asset{}
	err := fs.WalkDir(files, "static", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := files.ReadFile(name)
		sum := sha256.Sum256(body)
		all[strings.TrimPrefix(name, "static/")] = asset{body, contentTypes[path.Ext(name)], `"` + hex.EncodeToString(sum[:8]) + `"`}
		return err
	})
	return all, err
}

func (h *Handler) asset(w http.ResponseWriter, r *http.Request) {
	a, ok := h.static[r.PathValue("file")]
	if !ok {
		refuse(w, http.StatusNotFound, "not found")
		return
	}
	w.Header().Set("Content-Type", a.contentType)
	w.Header().Set("Cache-Control", "no-cache") // revalidated by its ETag
	w.Header().Set("ETag", a.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
}

// answer writes JSON.
func (h *Handler) answer(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		h.o.Logger.Error("an answer was not made", "err", err)
		refuse(w, http.StatusInternalServerError, "the answer could not be made; the log of clerksync tells why")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
}

// refuse answers with an error text, which the page shows.
func refuse(w http.ResponseWriter, status int, text string) {
	http.Error(w, text, status)
}
