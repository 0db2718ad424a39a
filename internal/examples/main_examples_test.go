//go:build examples

package examples

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/signing"
	"github.com/clerksync/clerksync/internal/testkit"
)

// folder has the examples and their packages.
const folder = "../../deploy/examples"

// program is the binary under test, where go build puts it in a checkout.
const program = "../../clerksync"

func TestMain(m *testing.M) {
	err := run("../..", "go", "build", "./cmd/clerksync")
	if err == nil {
		err = install()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	testkit.Main(m)
}

// install runs npm ci, unless what the lock file names is installed: a copy of it lies
// beside the packages then.
func install() error {
	lock, err := os.ReadFile(filepath.Join(folder, "package-lock.json"))
	if err != nil {
		return err
	}
	stamp := filepath.Join(folder, "node_modules", ".installed-lock.json")
	if installed, err := os.ReadFile(stamp); err == nil && bytes.Equal(installed, lock) {
		return nil
	}
	// Install scripts are code of strangers, and none of these packages needs one.
	if err := run(folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"); err != nil {
		return err
	}
	return os.WriteFile(stamp, lock, 0o644)
}

func run(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}

// clerksync is a running clerksync with a database of its own.
type clerksync struct {
	URL         string // of the public listener
	Endpoint    string // of webhooks
	AdminURL    string
	DatabaseURL string
	Secret      string // signs webhooks
	DataDir     string
}

// startClerksync starts clerksync serve with the embedded event log. settings are
// variables, NAME=value.
func startClerksync(t *testing.T, settings ...string) *clerksync {
	t.Helper()
	c := &clerksync{DatabaseURL: testkit.EmptyDatabaseURL(t), Secret: signing.NewSecret(), DataDir: filepath.Join(t.TempDir(), "data")}
	p := start(t, ".", append([]string{
		"DATABASE_URL=" + c.DatabaseURL, "CLERK_WEBHOOK_SIGNING_SECRET=" + c.Secret, "CLERKSYNC_DATA_DIR=" + c.DataDir,
		"CLERKSYNC_ADDR=127.0.0.1:0", "CLERKSYNC_ADMIN_ADDR=127.0.0.1:0",
	}, settings...), program, "serve", "--migrate")
	p.await(func() (bool, any) {
		var running struct {
			Endpoint string `json:"endpoint"`
			AdminURL string `json:"admin_url"`
		}
		file, err := os.ReadFile(filepath.Join(c.DataDir, "running.json"))
		if err == nil {
			err = json.Unmarshal(file, &running)
		}
		c.Endpoint, c.AdminURL = running.Endpoint, running.AdminURL
		return c.Endpoint != "", err
	})
	c.URL = strings.TrimSuffix(c.Endpoint, "/api/webhooks/clerk")
	return c
}

// send delivers the named files of testdata/events, signed, and waits until they are
// applied.
func (c *clerksync) send(t *testing.T, events ...string) {
	t.Helper()
	for _, name := range events {
		body, err := os.ReadFile(filepath.Join("../../testdata/events", name+".json"))
		require.NoError(t, err)
		require.Equal(t, http.StatusNoContent, deliver(t, c.Endpoint, c.Secret, signing.NewID(), body), name)
	}
	c.awaitApplied(t)
}

// deliver posts a body, signed as Svix does, and returns the status of the answer.
func deliver(t *testing.T, endpoint, secret, id string, body []byte) int {
	t.Helper()
	signer, err := signing.NewSigner(secret)
	require.NoError(t, err)
	request, err := signer.Request(t.Context(), endpoint, id, time.Now(), body)
	require.NoError(t, err)
	return do(t, request).StatusCode
}

// awaitApplied waits until no stored event waits for a worker.
func (c *clerksync) awaitApplied(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, "every event is applied", func() (bool, any) {
		lag := get(t, c.AdminURL+"/lag")
		var reading struct {
			Pending *uint64 `json:"pending"`
		}
		err := json.Unmarshal([]byte(lag.Body), &reading)
		return err == nil && reading.Pending != nil && *reading.Pending == 0, lag.Body
	})
}

// connect opens a connection to the database, with the tables' schema on the search path.
func (c *clerksync) connect(t *testing.T) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(c.DatabaseURL)
	require.NoError(t, err)
	config.RuntimeParams["search_path"] = "clerk,public"
	conn, err := pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// process is a program that runs beside a test.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	output testkit.Output
	ended  chan struct{}
}

// start starts a program in a folder, in a process group of its own. It is stopped when the
// test ends; when the test has failed, its output is shown. Of the environment it gets the
// variables that are given, and those of this process that configure neither Clerk nor
// clerksync.
func start(t *testing.T, dir string, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: command(dir, env, name, args...), ended: make(chan struct{})}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	require.NoError(t, p.cmd.Start())
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s wrote:\n%s", p.cmd, p.output.String())
		}
	})
	return p
}

// stop ends the whole process group: npm and next have children.
func (p *process) stop() {
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		p.t.Errorf("%s did not end after SIGTERM", p.cmd)
	}
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.ended
}

// await waits for a condition, or until the process ends.
func (p *process) await(condition func() (bool, any)) {
	p.t.Helper()
	testkit.Eventually(p.t, p.cmd.String()+" is ready", func() (bool, any) {
		select {
		case <-p.ended:
			p.t.Fatalf("%s ended: %s", p.cmd, p.cmd.ProcessState)
		default:
		}
		return condition()
	})
}

// awaitAnswer waits until the process answers requests for a URL, whatever the status.
func (p *process) awaitAnswer(url string) {
	p.t.Helper()
	p.await(func() (bool, any) {
		response, err := client.Get(url)
		if err != nil {
			return false, err
		}
		response.Body.Close()
		return true, nil
	})
}

// command returns a command as start runs it.
func command(dir string, env []string, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "CLERK") || strings.HasPrefix(v, "NEXT_PUBLIC_CLERK") || strings.HasPrefix(v, "DATABASE_URL=") || strings.HasPrefix(v, "NATS_URL=")
	})
	cmd.Env = append(append(cmd.Env, "NEXT_TELEMETRY_DISABLED=1", "CHECKPOINT_DISABLE=1"), env...)
	return cmd
}

// output runs a command to its end and returns what it wrote to standard output. A failure
// fails the test with all that it wrote.
func output(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := command(dir, env, name, args...)
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			out = append(out, exit.Stderr...)
		}
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// bin returns the path of a program of the packages: prisma, next, tsc.
func bin(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(folder, "node_modules", ".bin", name))
	require.NoError(t, err)
	return path
}

// client follows no redirects, and keeps no connections that a stopped example would wait for.
var client = &http.Client{
	Timeout:       testkit.Patience,
	CheckRedirect: signing.NoRedirects,
	Transport:     &http.Transport{DisableKeepAlives: true},
}

// response is an answer, read whole.
type response struct {
	StatusCode int
	Header     http.Header
	Body       string
}

// get asks for a URL. headers are names and values in turn.
func get(t *testing.T, url string, headers ...string) response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	return do(t, request)
}

func do(t *testing.T, request *http.Request) response {
	t.Helper()
	answer, err := client.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return response{answer.StatusCode, answer.Header, string(body)}
}

// freePort returns a port that nothing listens on.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	return port
}
