//go:build examples

// It needs nginx and Caddy, which only .ci/run installs.

package directory_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/testkit"
)

// gateways are the programs, where they are, and their configurations as the page has
// them: {listen}, {clerksync} and {service} are addresses.
var gateways = map[string]struct {
	programs []string
	file     string
	config   string
	args     func(folder, file string) []string
}{
	"nginx": {
		programs: []string{"nginx", "/usr/sbin/nginx"}, file: "nginx.conf",
		config: `daemon off; master_process off; pid {folder}/pid; error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {
    listen {listen};
` + nginxRecipe + `  }
}
`,
		args: func(folder, file string) []string { return []string{"-p", folder, "-c", file, "-e", "stderr"} },
	},
	"caddy": {
		programs: []string{"caddy", "/usr/bin/caddy"}, file: "Caddyfile",
		config: `{
	admin off
	auto_https off
}
http://{listen} {
` + caddyRecipe + `}
`,
		args: func(_, file string) []string { return []string{"run", "--config", file, "--adapter", "caddyfile"} },
	},
}

// The recipes of docs/directory-api.md, word for word but for the addresses.
const (
	nginxRecipe = `    location / {
      auth_request /clerksync;
      auth_request_set $clerk_user $upstream_http_x_clerk_user_id;
      auth_request_set $clerk_org $upstream_http_x_clerk_org_id;
      auth_request_set $clerk_role $upstream_http_x_clerk_role;
      auth_request_set $clerk_reason $upstream_http_clerksync_reason;
      add_header Clerksync-Reason $clerk_reason always;
      proxy_set_header X-Clerk-User-Id $clerk_user;
      proxy_set_header X-Clerk-Org-Id $clerk_org;
      proxy_set_header X-Clerk-Role $clerk_role;
      proxy_pass http://{service};
    }
    location = /clerksync {
      internal;
      proxy_pass http://{clerksync}/api/authorize?org=required;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
    }
`
	caddyRecipe = `	route {
		request_header -X-Clerk-User-Id
		request_header -X-Clerk-Org-Id
		request_header -X-Clerk-Role
		forward_auth {clerksync} {
			uri /api/authorize?org=required
			copy_headers X-Clerk-User-Id X-Clerk-Org-Id X-Clerk-Role
		}
		reverse_proxy {service}
	}
`
)

// TestRecipesAreThoseOfThePage: what is tested is what the page says.
func TestRecipesAreThoseOfThePage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/directory-api.md")
	require.NoError(t, err)
	for _, recipe := range []string{nginxRecipe, caddyRecipe} {
		recipe = strings.NewReplacer("{clerksync}", "clerksync:8080", "{service}", "service:3000").Replace(recipe)
		recipe = strings.ReplaceAll(recipe, "\n    ", "\n")
		recipe = strings.TrimPrefix(strings.ReplaceAll("\n"+recipe, "\n\t", "\n"), "\n")
		require.Contains(t, string(page), strings.TrimPrefix(recipe, "    "))
	}
}

// TestForwardAuthentication: real gateways let pass who may pass, pass on who that is, and
// never what the client claims to be.
func TestForwardAuthentication(t *testing.T) {
	t.Parallel()
	for name, g := range gateways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			a.populate()
			a.apply(banned("user_banned"), membership("orgmem_9", "user_banned", "org_1", "org:member"))
			service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				fmt.Fprintf(w, "%s %q %q %q %s", r.Method, r.Header["X-Clerk-User-Id"], r.Header["X-Clerk-Org-Id"], r.Header["X-Clerk-Role"], body)
			}))
			t.Cleanup(service.Close)
			folder := t.TempDir()
			listen := freeAddress(t)
			file := filepath.Join(folder, g.file)
			require.NoError(t, os.WriteFile(file, []byte(strings.NewReplacer(
				"{folder}", folder, "{listen}", listen, "{clerksync}", strings.TrimPrefix(a.url, "http://"), "{service}", strings.TrimPrefix(service.URL, "http://"),
			).Replace(g.config)), 0o600))
			startGateway(t, findProgram(t, g.programs), folder, g.args(folder, file)...)
			testkit.Eventually(t, name+" listens", func() (bool, any) {
				conn, err := net.Dial("tcp", listen)
				if err == nil {
					conn.Close()
				}
				return err == nil, err
			})

			ask := func(method, token string, body io.Reader) *reply {
				req, err := http.NewRequestWithContext(t.Context(), method, "http://"+listen+"/orders?id=1", body)
				require.NoError(t, err)
				if token != "" {
					req.Header.Set("Authorization", "Bearer "+token)
				}
				for _, header := range []string{"X-Clerk-User-Id", "X-Clerk-Org-Id", "X-Clerk-Role"} {
					req.Header.Set(header, "made up")
				}
				req.Close = true
				return a.do(req)
			}
			ada, bob := a.issuer.Session("user_ada", "org_1", "admin"), a.issuer.Session("user_bob", "org_1", "member")
			r := ask(http.MethodGet, ada, nil)
			require.Equal(t, http.StatusOK, r.StatusCode, string(r.body))
			require.Equal(t, `GET ["user_ada"] ["org_1"] ["org:admin"] `, string(r.body))
			r = ask(http.MethodPost, bob, strings.NewReader("an order"))
			require.Equal(t, `POST ["user_bob"] ["org_1"] ["org:member"] an order`, string(r.body))

			for token, want := range map[string]string{
				"":                           "401 token_missing",
				"a.b.c":                      "401 token_invalid",
				a.issuer.Session("user_ada"): "403 org_not_selected",
				a.issuer.Session("user_banned", "org_1", "member"): "403 user_inactive",
			} {
				r := ask(http.MethodGet, token, nil)
				require.Equal(t, want, fmt.Sprint(r.StatusCode, " ", r.Header.Get("Clerksync-Reason")), string(r.body))
				require.Equal(t, r.StatusCode == 401, strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Bearer"))
			}

			a.apply(testkit.Event("msg_left", "organizationMembership.deleted", at+1000, testkit.MembershipData("orgmem_2", "user_bob", "org_1", "org:member", at, at)))
			require.Equal(t, http.StatusForbidden, ask(http.MethodGet, bob, nil).StatusCode)
		})
	}
}

// findProgram returns the first program that is there. Without one the test fails:
// .ci/run gets them.
func findProgram(t *testing.T, names []string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatalf("%s is not installed: .ci/run has the commands", names[0])
	return ""
}

// startGateway runs a program until the test ends.
func startGateway(t *testing.T, program, folder string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "HOME="+folder, "XDG_DATA_HOME="+folder, "XDG_CONFIG_HOME="+folder)
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // its status is that of the signal
		if t.Failed() {
			t.Log(output.String())
		}
	})
}

// freeAddress returns an address on the loopback that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}
