package probe

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/receiver"
	"github.com/clerksync/clerksync/internal/signing"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestURLThatCannotBeUsed: it is neither requested nor shown; it may contain a password.
func TestURLThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	const form = "not of the form https://host/api/webhooks/clerk"
	for raw, want := range map[string]string{
		"":                        form,
		"public.example":          form,
		"ftp://a.example/":        form,
		"https://":                form,
		"https:///path":           form,
		"https://:443/":           form,
		"http://a b/":             form,
		"https://me:pw@h/x":       "there is a user or a password in it, which Svix does not send",
		"http://127.0.0.1:x/":     form,
		"http://127.0.0.1:65536/": "its port is above 65535",
	} {
		require.EqualError(t, signing.CheckURL(raw), want, raw)
		r := run(t, &Probe{URL: raw, Secret: secret})
		requireStopped(t, r, AtURL, "the URL cannot be used: "+want, "give the URL that is registered in the Clerk dashboard → Webhooks")
		require.Empty(t, r.URL)
	}
	require.NoError(t, signing.CheckURL("https://a.example/api/webhooks/clerk?token=1"))
	require.NoError(t, signing.CheckURL("https://a.example:65535/api/webhooks/clerk"))
}

func TestBadSecret(t *testing.T) {
	t.Parallel()
	requireStopped(t, run(t, &Probe{URL: "http://127.0.0.1:1/", Secret: "whsec_aGlkZGVu"}), AtUnauthorized,
		"the signing secret has 6 bytes, at least 24 are needed: was it copied whole?", fixSecret)
}

// TestQueryIsSentAndNotShown: it may contain a secret.
func TestQueryIsSentAndNotShown(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	d.work(testkit.Store(t).Apply, nil)
	p := d.probe()
	p.URL += "?token=hidden"
	r := run(t, p)
	require.True(t, r.OK)
	require.Equal(t, d.server.URL+clerk.WebhookPath, r.URL)

	d.put(func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, "https://elsewhere.example/x?token="+req.URL.Query().Get("token"), http.StatusFound)
	})
	requireStopped(t, run(t, p), AtRedirect,
		host(d.server)+" answered 302: it redirects to https://elsewhere.example/x, which Svix does not follow",
		"register the URL it redirects to, or remove the redirect")
}

func host(s *httptest.Server) string { return s.Listener.Addr().String() }

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	r := run(t, &Probe{URL: "https://no..name/", Secret: secret})
	requireStopped(t, r, AtDNS, "DNS knows no address of no..name", "correct the URL, or make the DNS record")
	require.Equal(t, Times{}, r.Times)

	s := httptest.NewServer(nil)
	s.Close()
	r = run(t, &Probe{URL: s.URL, Secret: secret})
	requireStopped(t, r, AtConnect, host(s)+" refuses connections: nothing listens there", "start clerksync, or the proxy in front of it; correct the port of the URL")
	require.Equal(t, Times{}, r.Times)
}

// TestProxyOfThisMachine: a failing outgoing proxy is named.
func TestProxyOfThisMachine(t *testing.T) {
	t.Parallel()
	err := &url.Error{Op: "Post", URL: "https://a.example/", Err: &net.OpError{Op: "proxyconnect", Net: "tcp", Err: io.EOF}}
	cause, fix := (&Probe{}).explain(AtConnect, err, &url.URL{Host: "a.example"})
	require.Equal(t, "no connection to the proxy by which this machine reaches others: EOF", cause)
	require.Equal(t, "correct HTTP_PROXY, HTTPS_PROXY or NO_PROXY", fix)
}

// TestWhatListensSaysNothing: a listener that hangs, in clear and in TLS, or hangs up.
func TestWhatListensSaysNothing(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	conns := make(chan net.Conn, 2)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns <- conn
		}
	}()
	at := l.Addr().String()
	r := run(t, &Probe{URL: "https://" + at, Secret: secret, Timeout: soon})
	requireStopped(t, r, AtTLS, at+" does not answer to TLS", "correct the port of the URL")
	require.NotNil(t, r.Times.Connect)
	(<-conns).Close()
	r = run(t, &Probe{URL: "http://" + at, Secret: secret, Timeout: soon})
	requireStopped(t, r, AtAnswer, "no answer from "+at+" within 300ms (--timeout)", "check the logs of the proxy and of clerksync there")
	require.NotNil(t, r.Times.Connect)
	require.Nil(t, r.Times.Receive)
	(<-conns).Close()

	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer s.Close()
	r = run(t, &Probe{URL: s.URL, Secret: secret})
	requireStopped(t, r, AtAnswer, host(s)+" closed the connection without an answer", "check the logs of the proxy and of clerksync there")
}

// certificate returns a self-signed certificate.
func certificate(t *testing.T, from, until time.Time) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: from, NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	const fix = "install a certificate that is valid for the name, of a public authority, with the whole chain"
	now := time.Now()
	probe := func(from, until time.Time, change func(*Probe)) *Result {
		t.Helper()
		c, roots := certificate(t, from, until)
		s := httptest.NewUnstartedServer(http.NotFoundHandler())
		s.Config.ErrorLog = discard
		s.TLS = &tls.Config{Certificates: []tls.Certificate{c}}
		s.StartTLS()
		defer s.Close()
		p := &Probe{URL: s.URL + clerk.WebhookPath, Secret: secret, testOnlyRoots: roots}
		if change != nil {
			change(p)
		}
		return run(t, p)
	}
	r := probe(now.Add(-time.Hour), now.Add(time.Hour), nil)
	require.Equal(t, AtAnswer, r.StoppedAt, "trusted")
	require.Greater(t, *r.Times.TLS, 0.0)

	r = probe(now.Add(-time.Hour), now.Add(time.Hour), func(p *Probe) { p.testOnlyRoots = nil })
	requireStopped(t, r, AtTLS, "the certificate of 127.0.0.1 is signed by an unknown authority", fix)
	require.Nil(t, r.Times.TLS)
	require.NotNil(t, r.Times.Connect)

	r = probe(now.Add(-time.Hour), now.Add(time.Hour), func(p *Probe) { p.URL = strings.Replace(p.URL, "127.0.0.1", "localhost", 1) })
	requireStopped(t, r, AtTLS, "the certificate of localhost is for another name", fix)

	r = probe(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2021, 3, 4, 5, 0, 0, 0, time.UTC), nil)
	requireStopped(t, r, AtTLS, "the certificate of 127.0.0.1 has expired, on 2021-03-04", "renew it")

	r = probe(time.Date(2200, 1, 2, 0, 0, 0, 0, time.UTC), time.Date(2201, 1, 1, 0, 0, 0, 0, time.UTC), nil)
	requireStopped(t, r, AtTLS, "the certificate of 127.0.0.1 is valid from 2200-01-02 on only", "wait, or correct this machine's clock")
}

func TestNoTLSThere(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	requireStopped(t, run(t, &Probe{URL: "https://" + host(s), Secret: secret}), AtTLS,
		"what listens at "+host(s)+" speaks no TLS", "correct the port of the URL, or terminate TLS there")
}

// TestAnswers: clerksync's own answers are told from those of others.
func TestAnswers(t *testing.T) {
	t.Parallel()
	const fixClock = "let NTP set the clock of both machines: if it is the endpoint's that is wrong, all deliveries are refused"
	answer := func(code int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			io.Copy(io.Discard, req.Body)
			http.Error(w, text, code)
		}
	}
	dated := func(ahead time.Duration, f http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
			f(w, req)
		}
	}
	refuse := func(status int, reason string) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set(receiver.ReasonHeader, reason)
			answer(status, "")(w, req)
		}
	}
	for name, tc := range map[string]struct {
		front      http.HandlerFunc
		at         Hop
		cause, fix string // HOST stands for the host
	}{
		"redirect to https": {
			http.RedirectHandler("https://public.example/hook", http.StatusPermanentRedirect).ServeHTTP, AtRedirect,
			"HOST answered 308: it redirects to https://public.example/hook, which Svix does not follow",
			"register the URL it redirects to, or remove the redirect",
		},
		"redirect to nowhere": {
			answer(301, ""), AtRedirect, "HOST answered 301: it redirects elsewhere, which Svix does not follow",
			"register the URL it redirects to, or remove the redirect",
		},
		"not found":   {answer(404, "not found"), AtAnswer, "HOST answered 404: there is no endpoint at /api/webhooks/clerk", fixPath},
		"method":      {refuse(405, "method"), AtAnswer, "HOST answered 405: what is at /api/webhooks/clerk takes no POST", fixPath},
		"another 200": {answer(200, "ok"), AtAnswer, "HOST answered 200, and clerksync answers 204: it is another program", fixPath},
		"too large": {
			answer(413, "no"), AtAnswer, "HOST answered 413: the body is too large for a proxy, at a few bytes",
			"let the proxy in front of clerksync take bodies up to 1 MiB",
		},
		"forbidden": {answer(403, "no"), AtAnswer, "HOST answered 403, but not clerksync: something in front of it refuses the request", fixProxy},
		"broken": {
			refuse(400, "broken"), AtAnswer,
			"HOST answered 400: the body did not arrive whole", fixProxy,
		},
		"bad gateway": {
			answer(502, "Bad Gateway"), AtAnswer, "HOST answered 502, but not clerksync: a proxy in front of it does not reach it",
			"start clerksync, and check the proxy's upstream",
		},
		"a proxy's 503": {
			answer(503, "no upstream"), AtAnswer, "HOST answered 503, but not clerksync: a proxy in front of it does not reach it",
			"start clerksync, and check the proxy's upstream",
		},
		"log down": {
			refuse(503, "unavailable"), AtUnavailable,
			"the receiver answers but cannot store events: its event log is down or full",
			"run clerksync doctor where the receiver runs; Svix retries for 28 hours",
		},
		"busy": {
			refuse(503, "busy"), AtUnavailable,
			"the receiver answers but has too many requests at once", "run more receivers; Svix retries",
		},
		"a login": {answer(401, "who are you"), AtAnswer, "HOST answered 401, but not clerksync: something in front of it asks for a login", fixProxy},
		"no headers": {
			refuse(401, "no_headers"), AtUnauthorized,
			"the svix headers do not arrive as they were sent: a proxy removes or changes them", fixProxy,
		},
		"another secret": {
			refuse(401, "bad_signature"),
			AtUnauthorized, "the signature does not match: the secret is another, or a proxy changes the body", fixSecret,
		},
		"clock ahead": {refuse(401, "too_old"), AtUnauthorized, "the endpoint's clock is more than 5 minutes ahead of this machine's", fixClock},
		"clock ahead, and known": {
			dated(2*time.Hour, refuse(401, "too_old")), AtUnauthorized,
			"the endpoint's clock is 2h0m0s ahead of this machine's", fixClock,
		},
		"clock behind": {
			dated(-7*time.Minute, refuse(401, "too_new")), AtUnauthorized,
			"the endpoint's clock is 7m0s behind this machine's", fixClock,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(tc.front)
			defer s.Close()
			p := &Probe{URL: s.URL + clerk.WebhookPath, Secret: secret, NoLog: "there is none"}
			r := run(t, p)
			// Date has a resolution of a second.
			cause := strings.NewReplacer("1h59m58s", "2h0m0s", "1h59m59s", "2h0m0s", "7m1s", "7m0s", "6m59s", "7m0s").Replace(r.Cause)
			require.Equal(t, []string{string(tc.at), strings.ReplaceAll(tc.cause, "HOST", host(s)), tc.fix}, []string{string(r.StoppedAt), cause, r.Fix})
			require.NotNil(t, r.Times.Receive, "there was an answer")
		})
	}
}

// TestRefusedByAReceiver: with a real receiver.
func TestRefusedByAReceiver(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	p := d.probe()
	p.Secret = another
	require.Equal(t, AtUnauthorized, run(t, p).StoppedAt)
	p = d.probe()
	u, err := url.Parse(p.URL)
	require.NoError(t, err)
	u.Path = "/elsewhere"
	p.URL = u.String()
	requireStopped(t, run(t, p), AtAnswer, host(d.server)+" answered 404: there is no endpoint at /elsewhere", fixPath)

	u.Path = ""
	p.URL = u.String()
	requireStopped(t, run(t, p), AtAnswer, host(d.server)+" answered 404: there is no endpoint at /", fixPath)

	d.nats.Stop()
	testkit.Eventually(t, "the client sees that the server is gone", func() (bool, any) { return !d.nc.IsConnected(), d.nc.Status() })
	requireStopped(t, run(t, d.probe()), AtUnavailable, "the receiver answers but cannot store events: its event log is down or full",
		"run clerksync doctor where the receiver runs; Svix retries for 28 hours")
}
