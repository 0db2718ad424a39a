package cli_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/disk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/signing"
	"github.com/clerksync/clerksync/internal/testkit"
)

// freeVariable names a file with the free space that the program of a test believes in.
const freeVariable = "CLERKSYNC_TEST_FREE_BYTES_FILE"

func pretendFree(file string) {
	disk.TestOnlyFree = func(string) (uint64, bool) {
		text, err := os.ReadFile(file)
		if err != nil {
			return 0, false
		}
		n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
		return n, err == nil
	}
}

const (
	// The verdict names a situation within namedWithin, and drops it within goneWithin of its
	// end.
	namedWithin = 60 * time.Second
	goneWithin  = 30 * time.Second
)

// situation is a fault of a deployment, with the name that the verdict must give it.
type situation struct {
	name string

	// prepare changes the variables of the receiver before it starts.
	prepare func(*deployed, map[string]string)

	// The situation begins with broken and ends with fixed.
	broken, fixed func(*deployed)

	state, cause string // of lag; a state of in_step means that it is only a warning
	fix          string // a part of the fix that lag and doctor give
	metric       string // a line of /metrics
	embedded     bool   // one process with an embedded log instead of two with NATS
}

// TestSituations: what can be wrong is named by lag, doctor, the page and a metric, each
// with the right fix, and is gone after it was corrected. Everything is real: the program,
// its processes, NATS, PostgreSQL, signatures.
func TestSituations(t *testing.T) {
	t.Parallel()
	for _, s := range situations {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			d := deploy(t, s)
			d.awaitState(goneWithin, "in_step", "", "")
			s.broken(d)
			d.awaitState(namedWithin, s.state, s.cause, s.fix)
			d.awaitNamed(s)
			s.fixed(d)
			d.awaitState(goneWithin, "in_step", "", "")
			d.awaitUnnamed(s)
		})
	}
}

var situations = []situation{
	{
		name: "worker dead", state: "stuck", cause: "no_worker", fix: "start one",
		metric: `clerksync_state{cause="no_worker",state="stuck"} 1`,
		broken: func(d *deployed) { d.kill("worker") },
		fixed:  func(d *deployed) { d.startWorker() },
	},
	{
		name: "PostgreSQL away", state: "stuck", cause: "postgresql", fix: "bring PostgreSQL back",
		metric: `clerksync_state{cause="postgresql",state="stuck"} 1`,
		broken: func(d *deployed) { d.postgres.Cut() },
		fixed:  func(d *deployed) { d.postgres.Restore("") },
	},
	{
		name: "NATS away", state: "unknown", cause: "event_log", fix: "start the NATS server",
		metric: `clerksync_state{cause="event_log",state="unknown"} 1`,
		broken: func(d *deployed) { d.nats.Cut() },
		fixed:  func(d *deployed) { d.nats.Restore("") },
	},
	{
		name: "disk nearly full", state: "refusing", cause: "disk", fix: "make room", embedded: true,
		metric: `clerksync_state{cause="disk",state="refusing"} 1`,
		broken: func(d *deployed) { d.setFree(60 << 20) },
		fixed:  func(d *deployed) { d.setFree(60 << 30) },
	},
	{
		name: "wrong secret", state: "refusing", cause: "secret", fix: "CLERK_WEBHOOK_SIGNING_SECRET",
		metric: `clerksync_state{cause="secret",state="refusing"} 1`,
		broken: func(d *deployed) {
			for range 3 {
				d.post(http.StatusUnauthorized, anotherSecret, 0, d.user("ins_ours"))
			}
		},
		fixed: func(d *deployed) { d.post(http.StatusNoContent, markerSecret, 0, d.user("ins_ours")) },
	},
	{
		name: "redirecting proxy", state: "refusing", cause: "probe", fix: "redirect",
		metric: `clerksync_state{cause="probe",state="refusing"} 1`,
		prepare: func(d *deployed, env map[string]string) {
			env["CLERKSYNC_PROBE_URL"], env["CLERKSYNC_PROBE_EVERY"] = d.front.URL+"/api/webhooks/clerk", "10s"
		},
		broken: func(d *deployed) { d.redirects.Store(true) },
		fixed:  func(d *deployed) { d.redirects.Store(false) },
	},
	{
		name: "clock off", state: "refusing", cause: "clock", fix: "NTP",
		metric: `clerksync_state{cause="clock",state="refusing"} 1`,
		broken: func(d *deployed) { d.post(http.StatusUnauthorized, markerSecret, -7*time.Minute, d.user("ins_ours")) },
		fixed:  func(d *deployed) { d.post(http.StatusNoContent, markerSecret, 0, d.user("ins_ours")) },
	},
	{
		name: "endpoint silent", state: "silent", cause: "silent", fix: "enabled",
		metric:  `clerksync_state{cause="silent",state="silent"} 1`,
		prepare: func(_ *deployed, env map[string]string) { env["CLERKSYNC_SILENT_AFTER"] = "40s" },
		broken:  func(*deployed) {},
		fixed:   func(d *deployed) { d.post(http.StatusNoContent, markerSecret, 0, d.user("ins_ours")) },
	},
	{
		name: "poison event", state: "in_step", cause: "dead_letters", fix: "clerksync dead ls",
		metric: `clerksync_dead_letters 1`,
		broken: func(d *deployed) {
			d.post(http.StatusNoContent, markerSecret, 0, `{"type":"user.created","instance_id":"ins_ours","data":{}}`)
		},
		fixed: func(d *deployed) { d.run(0, "dead", "discard", "1", "--yes") },
	},
	{
		name: "wrong instance", state: "refusing", cause: "wrong_instance", fix: "CLERK_INSTANCE_ID",
		metric:  `clerksync_state{cause="wrong_instance",state="refusing"} 1`,
		prepare: func(_ *deployed, env map[string]string) { env["CLERK_INSTANCE_ID"] = "ins_ours" },
		broken:  func(d *deployed) { d.post(http.StatusNoContent, markerSecret, 0, d.user("ins_theirs")) },
		fixed: func(d *deployed) {
			d.post(http.StatusNoContent, markerSecret, 0, d.user("ins_ours"))
			d.run(0, "dead", "discard", "1", "--yes")
		},
	},
	{
		name: "pending migration", state: "stuck", cause: "migrations", fix: "clerksync migrate up",
		metric: `clerksync_state{cause="migrations",state="stuck"} 1`,
		broken: func(d *deployed) {
			d.exec("UPDATE clerk.clerksync_migrations SET version_id = -version_id WHERE version_id = (SELECT max(version_id) FROM clerk.clerksync_migrations)")
		},
		fixed: func(d *deployed) {
			d.exec("UPDATE clerk.clerksync_migrations SET version_id = -version_id WHERE version_id < 0")
		},
	},
	{
		name: "events lost", state: "lost", cause: "lost", fix: "clerksync ",
		metric: `clerksync_state{cause="lost",state="lost"} 1`,
		broken: func(d *deployed) {
			d.kill("worker")
			for range 3 {
				d.post(http.StatusNoContent, markerSecret, 0, d.user("ins_ours"))
			}
			d.purge()
			d.startWorker()
		},
		fixed: func(d *deployed) { d.run(0, "events", "lost", "--acknowledge") },
	},
}

// deployed is a deployment that one situation happens to.
type deployed struct {
	t        *testing.T
	program  string
	env      map[string]string // of every command
	receiver map[string]string // of the receiver, besides
	running  map[string]*server
	admin    string // listener of the receiver
	endpoint string
	database string // without the proxy in between
	natsURL  string // without the proxy in between
	nats     *testkit.Proxy
	postgres *testkit.Proxy
	users    int

	front     *httptest.Server // a proxy before the receiver
	redirects atomic.Bool
}

func deploy(t *testing.T, s situation) *deployed {
	t.Helper()
	dir := t.TempDir()
	executable, err := os.Executable()
	require.NoError(t, err)
	d := &deployed{t: t, program: filepath.Join(dir, "clerksync"), running: map[string]*server{}, database: testkit.DatabaseURL(t)}
	require.NoError(t, os.Symlink(executable, d.program))
	d.front = httptest.NewServer(http.HandlerFunc(d.forward))
	t.Cleanup(d.front.Close)

	through := func(address string) (*testkit.Proxy, string) {
		u, err := url.Parse(address)
		require.NoError(t, err)
		p := testkit.NewProxy(t, u.Host)
		u.Host = p.Addr()
		return p, u.String()
	}
	d.env = map[string]string{
		"CLERK_WEBHOOK_SIGNING_SECRET": markerSecret, "CLERKSYNC_ADDR": "127.0.0.1:0", "CLERKSYNC_ADMIN_ADDR": "127.0.0.1:0",
		"CLERKSYNC_ADMIN_TOKEN": "a token of the situations", "CLERKSYNC_DATA_DIR": filepath.Join(dir, "data"),
		"GORACE": "atexit_sleep_ms=0", freeVariable: filepath.Join(dir, "free"), "PATH": os.Getenv("PATH"), "HOME": dir,
	}
	d.setFree(60 << 30)
	d.postgres, d.env["DATABASE_URL"] = through(d.database)
	d.receiver = map[string]string{}
	role := []string{"serve"}
	if !s.embedded {
		d.natsURL = testkit.NATS(t).URL()
		d.nats, d.env["NATS_URL"] = through(d.natsURL)
		role = []string{"serve", "--role", "receiver"}
	}
	if s.prepare != nil {
		s.prepare(d, d.receiver)
	}
	d.start("receiver", d.receiver, role...)
	found := regexp.MustCompile(` endpoint=(\S+) .*admin=(\S+)`).FindStringSubmatch(d.running["receiver"].stderr.String())
	require.NotNil(t, found)
	d.endpoint, d.admin = found[1], found[2]
	if !s.embedded {
		d.startWorker()
	}
	d.post(http.StatusNoContent, markerSecret, 0, d.user("ins_ours"))
	return d
}

// forward is the proxy before the receiver.
func (d *deployed) forward(w http.ResponseWriter, r *http.Request) {
	if d.redirects.Load() {
		http.Redirect(w, r, "https://elsewhere.example"+r.URL.Path, http.StatusMovedPermanently)
		return
	}
	u, err := url.Parse(d.endpoint)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	httputil.NewSingleHostReverseProxy(&url.URL{Scheme: u.Scheme, Host: u.Host}).ServeHTTP(w, r)
}

func (d *deployed) setFree(bytes uint64) {
	require.NoError(d.t, os.WriteFile(d.env[freeVariable], []byte(strconv.FormatUint(bytes, 10)), 0o600))
}

func (d *deployed) command(ctx context.Context, more map[string]string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.program, args...)
	cmd.Args[0] = "clerksync"
	cmd.Env = []string{}
	for _, env := range []map[string]string{d.env, more} {
		for key, value := range env {
			cmd.Env = append(cmd.Env, key+"="+value)
		}
	}
	return cmd
}

func (d *deployed) start(name string, env map[string]string, args ...string) {
	d.t.Helper()
	s := &server{cmd: d.command(context.Background(), env, args...), ended: make(chan struct{})}
	s.cmd.Stdout, s.cmd.Stderr = &s.stdout, &s.stderr
	require.NoError(d.t, s.cmd.Start())
	go func() {
		s.cmd.Wait()
		close(s.ended)
	}()
	d.running[name] = s
	d.t.Cleanup(func() {
		s.cmd.Process.Kill()
		<-s.ended
		require.NotContains(d.t, s.stderr.String(), marker)
	})
	testkit.Eventually(d.t, name+" is at work", func() (bool, any) {
		return strings.Contains(s.stderr.String(), "clerksync is at work"), s.stderr.String()
	})
}

func (d *deployed) startWorker() { d.start("worker", nil, "serve", "--role", "worker") }

func (d *deployed) kill(name string) {
	require.NoError(d.t, d.running[name].cmd.Process.Kill())
	<-d.running[name].ended
}

// run runs a command and returns its standard output.
func (d *deployed) run(status int, args ...string) string {
	d.t.Helper()
	out, got := d.try(args...)
	require.Equal(d.t, status, got, "%s", out)
	return out
}

func (d *deployed) try(args ...string) (output string, status int) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := d.command(ctx, nil, args...)
	out, _ := cmd.Output()
	return string(out), cmd.ProcessState.ExitCode()
}

// user returns the body of an event about a new user.
func (d *deployed) user(instance string) string {
	d.users++
	now := time.Now().UnixMilli()
	return fmt.Sprintf(`{"type":"user.created","object":"event","instance_id":%q,"timestamp":%d,"data":{"object":"user","id":"user_%d","created_at":%d,"updated_at":%d}}`,
		instance, now, d.users, now, now)
}

// post sends a delivery as Svix does, by a clock that is off.
func (d *deployed) post(status int, secret string, off time.Duration, body string) {
	d.t.Helper()
	signer, err := signing.NewSigner(secret)
	require.NoError(d.t, err)
	req, err := signer.Request(d.t.Context(), d.endpoint, fmt.Sprintf("msg_%d", time.Now().UnixNano()), time.Now().Add(off), []byte(body))
	require.NoError(d.t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(d.t, err)
	resp.Body.Close()
	require.Equal(d.t, status, resp.StatusCode)
}

func (d *deployed) exec(statement string) {
	d.t.Helper()
	conn, err := pgx.Connect(d.t.Context(), d.database)
	require.NoError(d.t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(d.t.Context(), statement)
	require.NoError(d.t, err)
}

// purge removes what the log holds, as somebody with access to NATS could.
func (d *deployed) purge() {
	d.t.Helper()
	nc, err := nats.Connect(d.natsURL)
	require.NoError(d.t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(d.t, err)
	stream, err := js.Stream(d.t.Context(), eventlog.Stream)
	require.NoError(d.t, err)
	require.NoError(d.t, stream.Purge(d.t.Context()))
}

// reading is a reading, as far as the situations need it.
type reading struct {
	State    string `json:"state"`
	Cause    string `json:"cause"`
	Fix      string `json:"fix"`
	Warnings []struct {
		Cause string `json:"cause"`
		Fix   string `json:"fix"`
	} `json:"warnings"`
}

// names reports whether a reading has a state, a cause and a fix: of the verdict, or else
// of a warning.
func (r reading) names(state, cause, fix string) bool {
	if r.State != state || r.Cause == cause && strings.Contains(r.Fix, fix) {
		return r.State == state
	}
	for _, w := range r.Warnings {
		if w.Cause == cause && strings.Contains(w.Fix, fix) {
			return true
		}
	}
	return false
}

// awaitState waits until clerksync lag names the situation.
func (d *deployed) awaitState(limit time.Duration, state, cause, fix string) {
	d.t.Helper()
	began, last := time.Now(), ""
	for time.Since(began) < limit {
		out, status := d.try("lag", "--json")
		last = out
		var r reading
		if json.Unmarshal([]byte(out), &r) == nil && r.names(state, cause, fix) && (status == 0) == (state == "in_step") {
			return
		}
	}
	d.t.Fatalf("lag does not say %s, %s, %q after %s: %s\n%s", state, cause, fix, limit, last, d.running["receiver"].stderr.String())
}

// awaitNamed waits until the page, a metric and doctor name it too.
func (d *deployed) awaitNamed(s situation) {
	d.t.Helper()
	d.within(namedWithin, "the page names it", func() (bool, string) {
		r, text := d.page()
		return r.names(s.state, s.cause, s.fix), text
	})
	d.within(namedWithin, "a metric names it", func() (bool, string) {
		text := d.get("/metrics")
		return strings.Contains(text, s.metric+"\n"), text
	})
	out, _ := d.try("doctor")
	require.Contains(d.t, out, s.fix)
}

func (d *deployed) awaitUnnamed(s situation) {
	d.t.Helper()
	d.within(goneWithin, "the page is green", func() (bool, string) {
		r, text := d.page()
		return r.State == "in_step" && !strings.Contains(text, `"cause":"`+s.cause+`"`), text
	})
	d.within(goneWithin, "the metric is gone", func() (bool, string) {
		text := d.get("/metrics")
		return !strings.Contains(text, s.metric+"\n"), text
	})
}

func (d *deployed) within(limit time.Duration, what string, condition func() (bool, string)) {
	d.t.Helper()
	began, last := time.Now(), ""
	for time.Since(began) < limit {
		ok, text := condition()
		if ok {
			return
		}
		last = text
	}
	d.t.Fatalf("not after %s: %s; last seen: %s", limit, what, last)
}

func (d *deployed) request(path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, d.admin+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+d.env["CLERKSYNC_ADMIN_TOKEN"])
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: patience}).DialContext}}
	return client.Do(req)
}

func (d *deployed) get(path string) string {
	resp, err := d.request(path)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	var text strings.Builder
	_, err = bufio.NewReader(resp.Body).WriteTo(&text)
	if err != nil {
		return err.Error()
	}
	return text.String()
}

// page returns the reading that the page shows: that of the first frame of its stream.
func (d *deployed) page() (r reading, text string) {
	resp, err := d.request("/stream")
	if err != nil {
		return r, err.Error()
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var frame struct {
			Reading json.RawMessage `json:"reading"`
		}
		if json.Unmarshal([]byte(data), &frame) == nil {
			json.Unmarshal(frame.Reading, &r)
		}
		return r, string(frame.Reading)
	}
	return r, "no frame"
}
