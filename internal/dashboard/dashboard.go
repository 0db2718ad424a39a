package dashboard

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

	"golang.org/x/time/rate"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/monitor"
	"github.com/clerksync/clerksync/internal/store"
)

// Watch is what measures: [monitor.Watch].
type Watch interface {
	Latest() *monitor.Reading             // nil before the first
	Subscribe() (<-chan struct{}, func()) // signalled after each reading, until the function is called
	History() []monitor.Sample            // the oldest first
}

// Options say what is shown, and to whom.
type Options struct {
	Watch    Watch
	Log      *eventlog.Log
	Store    *store.Store // nil: this process has no database, and nothing can be retried or replayed from here
	Instance string       // Clerk instance whose dead letters can be retried, "" when none is configured
	Token    string       // "" asks for none
	Local    bool         // the listener is on the loopback, where no token is needed
	Version  string
	Logger   *slog.Logger
}

// Dashboard serves the page and what it asks for.
type Dashboard struct {
	o       Options
	handler http.Handler
	pages   *template.Template
	static  map[string]asset

	run      string // tells this process from the one before
	action   string // what actions carry where there are no sessions
	sessions sessions
	failures *rate.Limiter // of wrong tokens
	acting   chan struct{} // one action at a time
	streams  chan struct{}

	closing chan struct{}
	close   func()
}

const (
	// maxStreams is how many pages are kept up to date at once.
	maxStreams = 32

	// maxBody is more than a form with a token has; actions have no body.
	maxBody = 4 << 10

	// readTimeout bounds what is read of the event log for one answer.
	readTimeout = 10 * time.Second
)

//go:embed templates static
var files embed.FS

// New makes a dashboard. It has no goroutines of its own, but [Dashboard.Close] has
// to be called before the server is shut down.
func New(o Options) (*Dashboard, error) {
	if o.Watch == nil || o.Log == nil {
		return nil, errors.New("make the dashboard: it needs what measures, and the event log")
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
	d := &Dashboard{
		o: o, pages: pages, static: static, run: rand.Text(), action: rand.Text(),
		failures: rate.NewLimiter(rate.Every(3*time.Second), 10),
		acting:   make(chan struct{}, 1), streams: make(chan struct{}, maxStreams), closing: make(chan struct{}),
	}
	d.close = sync.OnceFunc(func() { close(d.closing) })
	d.handler = d.routes()
	return d, nil
}

// ServeHTTP implements http.Handler.
func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) { d.handler.ServeHTTP(w, r) }

// Close ends the streams, for which [http.Server.Shutdown] would wait. It can be
// called again.
func (d *Dashboard) Close() { d.close() }

func (d *Dashboard) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", d.page)
	mux.HandleFunc("GET /static/{file...}", d.asset)
	mux.HandleFunc("GET /login", d.loginPage)
	mux.HandleFunc("POST /login", d.login)
	mux.HandleFunc("POST /logout", d.act(d.logout))

	mux.HandleFunc("GET /stream", d.see(d.stream))
	mux.HandleFunc("GET /events", d.see(d.listEvents))
	mux.HandleFunc("GET /events/{seq}", d.see(one(d.event)))
	mux.HandleFunc("GET /events/{seq}/body", d.see(one(d.eventBody)))
	mux.HandleFunc("POST /events/{seq}/replay", d.act(one(d.replay)))
	mux.HandleFunc("GET /letters", d.see(d.listLetters))
	mux.HandleFunc("GET /letters/{seq}", d.see(one(d.letter)))
	mux.HandleFunc("GET /letters/{seq}/body", d.see(one(d.letterBody)))
	mux.HandleFunc("POST /letters/{seq}/retry", d.act(one(d.retry)))
	mux.HandleFunc("POST /letters/{seq}/discard", d.act(one(d.discard)))
	return secure(d.checkHost(crossOrigin(http.MaxBytesHandler(mux, maxBody))))
}

// page is the one page there is.
func (d *Dashboard) page(w http.ResponseWriter, r *http.Request) {
	action := d.authenticate(r)
	if action == "" {
		if d.o.Token == "" {
			refuse(w, http.StatusForbidden, noToken)
			return
		}
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return
	}
	d.render(w, http.StatusOK, "page.html", struct {
		Version, Run, Action string
		CanApply, CanLogOut  bool
	}{d.o.Version, d.run, action, d.o.Store != nil, d.sessionOf(r) != nil})
}

func (d *Dashboard) render(w http.ResponseWriter, status int, name string, data any) {
	var page bytes.Buffer
	if err := d.pages.ExecuteTemplate(&page, name, data); err != nil {
		d.o.Logger.Error("a page was not made", "page", name, "err", err)
		refuse(w, http.StatusInternalServerError, "the page could not be made; the log of clerksync tells why")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(page.Bytes())
}

// asset is a file as it is served.
type asset struct {
	body              []byte
	contentType, etag string
}

// contentTypes are named here: what the machine says of them can be anything.
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

func (d *Dashboard) asset(w http.ResponseWriter, r *http.Request) {
	a, ok := d.static[r.PathValue("file")]
	if !ok {
		refuse(w, http.StatusNotFound, "not found")
		return
	}
	w.Header().Set("Content-Type", a.contentType)
	w.Header().Set("Cache-Control", "no-cache") // asked for again each time, and sent when it changed
	w.Header().Set("ETag", a.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
}

// answer writes JSON.
func (d *Dashboard) answer(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		d.o.Logger.Error("an answer was not made", "err", err)
		refuse(w, http.StatusInternalServerError, "the answer could not be made; the log of clerksync tells why")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
}

// refuse answers with an error, which the page shows as it is.
func refuse(w http.ResponseWriter, status int, text string) {
	http.Error(w, text, status)
}
