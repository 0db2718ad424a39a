package test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

const adminToken = "0123456789abcdef0123456789abcdef"

// environment returns the environment of a container: with secrets, and with addresses on
// this machine, where neither NATS nor PostgreSQL nor Clerk answers.
func environment(t *testing.T, p pod) []string {
	t.Helper()
	creds := filepath.Join(t.TempDir(), "nats.creds")
	require.NoError(t, os.WriteFile(creds, newCreds(t), 0o600))
	here := map[string]string{
		"CLERK_WEBHOOK_SIGNING_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		"CLERKSYNC_ADMIN_TOKEN":        adminToken,
		"CLERK_SECRET_KEY":             "sk_test_0123456789abcdef0123456789abcdef01234567",
		"DATABASE_URL":                 "postgres://clerksync:password@127.0.0.1:1/clerksync",
		"NATS_URL":                     "nats://127.0.0.1:1",
		"CLERKSYNC_NATS_CREDS":         creds,
		"CLERK_FRONTEND_API_URL":       "http://127.0.0.1:1",
		"OTEL_EXPORTER_OTLP_ENDPOINT":  "http://127.0.0.1:1",
		"CLERKSYNC_ADDR":               "127.0.0.1:0",
		"CLERKSYNC_ADMIN_ADDR":         "127.0.0.1:0",
	}
	env := []string{"CLERKSYNC_DATA_DIR=" + filepath.Join(t.TempDir(), "data")} // as the image's
	for _, e := range p.container().Env {
		value := e.Value
		if other, ok := here[e.Name]; ok {
			value = other
		}
		require.NotEmpty(t, value, e.Name)
		env = append(env, e.Name+"="+value)
	}
	return env
}

// newCreds returns the credentials file of a user that no server knows.
func newCreds(t *testing.T) []byte {
	t.Helper()
	account, err := nkeys.CreateAccount()
	require.NoError(t, err)
	user, err := nkeys.CreateUser()
	require.NoError(t, err)
	public, err := user.PublicKey()
	require.NoError(t, err)
	token, err := jwt.NewUserClaims(public).Encode(account)
	require.NoError(t, err)
	seed, err := user.Seed()
	require.NoError(t, err)
	file, err := jwt.FormatUserConfig(token, seed)
	require.NoError(t, err)
	return file
}

// TestEveryVariableIsKnown: a misspelt one would be ignored.
func TestEveryVariableIsKnown(t *testing.T) {
	t.Parallel()
	known := map[string][]string{"serve": variables(t, "serve"), "migrate": variables(t, "migrate", "up")}
	eachRelease(t, func(t *testing.T, r *release) {
		for _, p := range r.pods() {
			for _, e := range p.container().Env {
				if e.Name != "SSL_CERT_DIR" { // Go's own
					require.Contains(t, known[p.container().Args[0]], e.Name, p.role)
				}
			}
		}
	})
}

// TestContainersStart: clerksync takes the arguments and the environment of every
// container, answers its probes and the paths of the Ingress, writes no file, and stops.
func TestContainersStart(t *testing.T) {
	t.Parallel()
	eachRelease(t, func(t *testing.T, r *release) {
		for _, p := range r.pods() {
			t.Run(p.role, func(t *testing.T) {
				t.Parallel()
				if p.role == "migration" {
					testMigration(t, p)
					return
				}
				testServe(t, p, paths(r, p.role))
			})
		}
	})
}

// paths returns the paths that the Ingress sends to a role.
func paths(r *release, role string) []string {
	var all []string
	for _, i := range r.ingresses {
		for _, path := range i.Spec.Rules[0].HTTP.Paths {
			if strings.HasSuffix(path.Backend.Service.Name, "-"+role) {
				all = append(all, path.Path)
			}
		}
	}
	return all
}

// testMigration runs the Job, whose database does not answer.
func testMigration(t *testing.T, p pod) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, p.container().Args...)
	cmd.Env = environment(t, p)
	out, err := cmd.CombinedOutput()
	exit, failed := errors.AsType[*exec.ExitError](err)
	require.True(t, failed, "%s", out)
	require.Equal(t, 1, exit.ExitCode(), "%s", out) // 2 is a wrong use
	require.Contains(t, string(out), "PostgreSQL")
}

func testServe(t *testing.T, p pod, paths []string) {
	t.Helper()
	c := p.container()
	cmd := exec.CommandContext(t.Context(), program, c.Args...)
	cmd.Env = environment(t, p)
	log, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	started, lines, ended := make(chan map[string]any, 1), []string{}, make(chan struct{})
	go func() {
		defer close(ended)
		for scanner := bufio.NewScanner(log); scanner.Scan(); {
			lines = append(lines, scanner.Text())
			var line map[string]any
			if json.Unmarshal(scanner.Bytes(), &line) == nil && line["msg"] == "clerksync is at work" {
				started <- line
			}
		}
	}()
	var at map[string]any
	select {
	case at = <-started:
	case <-ended:
		t.Fatalf("it did not start: %v", lines)
	case <-time.After(time.Minute):
		t.Fatal("it does not start")
	}
	require.Equal(t, p.role == "receiver", at["receiver"])
	require.Equal(t, p.role == "worker", at["worker"])
	admin := at["admin"].(string)
	probe := func(probe *corev1.Probe) int {
		t.Helper()
		status, _ := ask(t, http.MethodGet, admin+probe.HTTPGet.Path, "")
		return status
	}
	require.Equal(t, 200, probe(c.StartupProbe))
	require.Equal(t, 200, probe(c.LivenessProbe))
	require.Equal(t, 503, probe(c.ReadinessProbe), "neither NATS nor PostgreSQL is there")
	status, _ := ask(t, http.MethodGet, admin+"/metrics", "")
	require.Equal(t, 401, status)
	status, metrics := ask(t, http.MethodGet, admin+"/metrics", adminToken)
	require.Equal(t, 200, status)
	require.Contains(t, metrics, "clerksync_")
	for _, path := range paths {
		public, method := at["api"], http.MethodGet
		if p.role == "receiver" {
			public, method = at["endpoint"], http.MethodPost
		}
		base, _, _ := strings.Cut(public.(string), "/api")
		status, _ := ask(t, method, base+path, "")
		require.NotContains(t, []int{404, 405}, status, path)
	}
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	<-ended
	require.NoError(t, cmd.Wait(), "%v", lines)
	data := cmd.Env[slices.IndexFunc(cmd.Env, func(e string) bool { return strings.HasPrefix(e, "CLERKSYNC_DATA_DIR=") })]
	require.NoDirExists(t, strings.TrimPrefix(data, "CLERKSYNC_DATA_DIR="))
}

// ask returns the status and the body of an answer.
func ask(t *testing.T, method, url, token string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	require.NoError(t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}
