//go:build examples

package examples

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/testkit"
)

// TestMicroservicesBehindForwardAuthentication: the same services, without code for
// tokens, behind nginx and Caddy, which put every request to clerksync first.
func TestMicroservicesBehindForwardAuthentication(t *testing.T) {
	issuer := testkit.NewTokenIssuer(t)
	c := startClerksync(t, "CLERK_JWT_KEY="+issuer.PEM, "CLERK_FRONTEND_API_URL="+issuer.Issuer,
		"CLERK_AUTHORIZED_PARTIES="+origin, "CLERK_AUDIENCE="+strings.Join(serviceNames, ","))
	m := startMicroservices(t, c, issuer, "IDENTITY=headers")
	template := func(service, org string) string {
		return issuer.Template(ada, service, map[string]any{"org_id": org})
	}

	gateways := map[string]string{}
	for name, start := range map[string]startProxy{"nginx": startNginx, "caddy": startCaddy} {
		gateway := start(t, c.URL, m.urls)
		gateways[name] = gateway
		for _, service := range serviceNames {
			url := gateway + "/" + service + "/"
			t.Run(name+"/"+service, func(t *testing.T) {
				requireCaller(t, service, get(t, url, bearer(template(service, acmeOrg))...))
				requireCaller(t, service, get(t, url, "Authorization", "Bearer "+template(service, acmeOrg),
					"X-Clerk-User-Id", ben, "X-Clerk-Org-Id", birchOrg, "X-Clerk-Role", "org:owner"))

				requireProblem(t, get(t, url), 401, "token_missing")
				requireProblem(t, get(t, url, "X-Clerk-User-Id", ada, "X-Clerk-Org-Id", acmeOrg), 401, "token_missing")
				requireProblem(t, get(t, url, bearer("ey.ey.ey")...), 401, "token_invalid")
				requireProblem(t, get(t, url, bearer(template("other", acmeOrg))...), 401, "audience_mismatch")
				require.Contains(t, requireProblem(t, get(t, url, bearer(issuer.Session(ada, acmeOrg, "admin"))...), 401, "audience_mismatch"), service)
				requireProblem(t, get(t, url, bearer(issuer.Template(ada, service, nil))...), 403, "org_not_selected")
				// clerksync has never heard of this membership: it could be on its way.
				requireProblem(t, get(t, url, bearer(template(service, birchOrg))...), 503, "not_synced_yet")
			})
		}
		t.Run(name+"/a service does not see the token", func(t *testing.T) {
			token := template("orders", acmeOrg)
			seen := seenBehind(t, start, c.URL, "Authorization", "Bearer "+token, "Cookie", "__session="+token)
			require.Equal(t, []string{ada, acmeOrg, "org:admin"}, []string{seen.Get("X-Clerk-User-Id"), seen.Get("X-Clerk-Org-Id"), seen.Get("X-Clerk-Role")})
			require.Empty(t, seen.Get("Authorization"))
			require.Empty(t, seen.Get("Cookie"))
		})
		t.Run(name+"/a client cannot name itself, whatever the answer lacks", func(t *testing.T) {
			nobody := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
			defer nobody.Close()
			seen := seenBehind(t, start, nobody.URL, "X-Clerk-User-Id", ben, "X-Clerk-Org-Id", birchOrg, "X-Clerk-Role", "org:admin")
			for name, values := range seen { // Caddy 2.6 sends the name of its placeholder
				require.NotSubset(t, []string{ben, birchOrg, "org:admin"}, values, name)
			}
		})
		t.Run(name+"/a refusal does not depend on the method", func(t *testing.T) {
			requireProblem(t, post(t, gateway+"/orders/", "{}"), 401, "token_missing")
		})
		t.Run(name+"/nothing passes while clerksync is away", func(t *testing.T) {
			gateway := start(t, "http://127.0.0.1:"+freePort(t), m.urls)
			answer := get(t, gateway+"/orders/", bearer(template("orders", acmeOrg))...)
			require.Equal(t, http.StatusBadGateway, answer.StatusCode, answer.Body)
		})
	}

	t.Run("a removed member is refused at once", func(t *testing.T) {
		m.sync.send(t, "organizationMembership.deleted")
		for name, gateway := range gateways {
			for _, service := range serviceNames {
				answer := get(t, gateway+"/"+service+"/", bearer(template(service, acmeOrg))...)
				require.Equal(t, http.StatusForbidden, answer.StatusCode, name)
				requireProblem(t, answer, 403, "not_a_member")
			}
		}
	})
}

// startProxy starts a proxy in front of services, which asks a clerksync, and returns its URL.
type startProxy func(t *testing.T, clerksync string, services map[string]string) string

// seenBehind returns the headers that a service gets of a request with these.
func seenBehind(t *testing.T, start startProxy, clerksync string, headers ...string) (seen http.Header) {
	t.Helper()
	recorder := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header }))
	defer recorder.Close()
	services := map[string]string{"orders": recorder.URL, "reports": recorder.URL, "inventory": recorder.URL}
	require.Equal(t, http.StatusOK, get(t, start(t, clerksync, services)+"/orders/", headers...).StatusCode)
	return seen
}

// proxyConfiguration returns a file of the example with these addresses in it, and the URL
// that the proxy will listen on.
func proxyConfiguration(t *testing.T, file, clerksync string, services map[string]string) (configuration, listen string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(microservicesFolder, file))
	require.NoError(t, err)
	port := freePort(t)
	var addresses []string
	for _, a := range [][2]string{
		{"8000", port},
		{"127.0.0.1:8080", clerksync},
		{"127.0.0.1:4001", services["orders"]},
		{"127.0.0.1:4002", services["reports"]},
		{"127.0.0.1:4003", services["inventory"]},
	} {
		require.Contains(t, string(text), a[0])
		addresses = append(addresses, a[0], strings.TrimPrefix(a[1], "http://"))
	}
	return strings.NewReplacer(addresses...).Replace(string(text)), "http://127.0.0.1:" + port
}

func startNginx(t *testing.T, clerksync string, services map[string]string) string {
	t.Helper()
	site, url := proxyConfiguration(t, "nginx.conf", clerksync, services)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(`
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
`+site+"}\n"), 0o644))
	program, err := exec.LookPath("nginx")
	if err != nil {
		program = "/usr/sbin/nginx" // not in everybody's PATH
	}
	start(t, dir, nil, program, "-p", dir, "-c", "nginx.conf", "-e", "stderr").awaitAnswer(url)
	return url
}

func startCaddy(t *testing.T, clerksync string, services map[string]string) string {
	t.Helper()
	site, url := proxyConfiguration(t, "Caddyfile", clerksync, services)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Caddyfile"), []byte("{\n\tadmin off\n}\n"+site), 0o644))
	start(t, dir, []string{"HOME=" + dir, "XDG_CONFIG_HOME=" + dir, "XDG_DATA_HOME=" + dir}, "caddy", "run").awaitAnswer(url)
	return url
}
