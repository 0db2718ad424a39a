package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/signing"
)

// maxDated is the longest request whose Date header still tells the clock.
const maxDated = 2 * time.Second

// send posts the probe as Svix would, over a new connection.
func (p *Probe) send(ctx context.Context, r *Result, u *url.URL) {
	ctx, cancel := context.WithTimeout(ctx, signing.Timeout)
	defer cancel()
	now := time.Now()
	signer, err := signing.NewSigner(p.Secret)
	if err != nil {
		r.stop(AtUnauthorized, err.Error(), fixSecret)
		return
	}
	req, err := signer.Request(ctx, u.String(), r.SvixID, now, clerk.ProbeBody(now))
	if err != nil {
		r.stop(AtURL, err.Error(), fixSecret)
		return
	}
	t := &trace{}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true // every probe resolves and connects again
	transport.TLSClientConfig = &tls.Config{RootCAs: p.testOnlyRoots}
	client := &http.Client{Transport: transport, CheckRedirect: signing.NoRedirects}
	resp, err := client.Do(req.WithContext(httptrace.WithClientTrace(ctx, t.hooks())))
	hop := t.times(&r.Times, err == nil)
	received := now.Add(time.Since(now))
	if err != nil {
		cause, fix := p.explain(hop, err, u)
		r.stop(hop, cause, fix)
		return
	}
	defer resp.Body.Close()
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		r.ClockOff = clockOff(date, now, received)
	}
	if resp.StatusCode != http.StatusNoContent {
		r.judge(resp, u)
	}
}

// clockOff returns how far the date of an answer lies outside of the request's duration,
// nil when the request took too long to tell.
func clockOff(date, sent, received time.Time) *float64 {
	const tolerance = time.Second // the header is truncated to seconds
	early, late := sent.Add(-tolerance), received.Add(tolerance)
	switch {
	case received.Sub(sent) > maxDated:
		return nil
	case date.Before(early):
		return seconds(date.Sub(early))
	case date.After(late):
		return seconds(date.Sub(late))
	}
	return seconds(0)
}

// explain explains why there was no answer.
func (p *Probe) explain(hop Hop, err error, u *url.URL) (cause, fix string) {
	var inURL *url.Error // which repeats the address
	if errors.As(err, &inURL) {
		err = inURL.Err
	}
	slow := errors.Is(err, context.DeadlineExceeded)
	host := u.Hostname()
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "proxyconnect" {
		return fmt.Sprintf("no connection to the proxy by which this machine reaches others: %v", op.Err), "correct HTTP_PROXY, HTTPS_PROXY or NO_PROXY"
	}
	switch hop {
	case AtDNS:
		var unknown *net.DNSError
		if errors.As(err, &unknown) && unknown.IsNotFound {
			return "DNS knows no address of " + host, "correct the URL, or make the DNS record"
		}
		if slow {
			err = errors.New("no answer from DNS")
		}
		return fmt.Sprintf("resolving %s failed: %v", host, err), "check the name servers of this machine"
	case AtConnect:
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			return u.Host + " refuses connections: nothing listens there", "start clerksync, or the proxy in front of it; correct the port of the URL"
		case slow:
			return u.Host + " does not answer", "open the firewall in front of it, or correct its DNS record"
		}
		return fmt.Sprintf("no connection to %s: %v", u.Host, err), "correct its DNS record, or the network in between"
	case AtTLS:
		return explainTLS(err, u, slow)
	}
	const fixLogs = "check the logs of the proxy and of clerksync there"
	switch {
	case slow && p.Timeout > 0 && p.Timeout < signing.Timeout:
		return fmt.Sprintf("no answer from %s within %s (--timeout)", u.Host, p.Timeout), fixLogs
	case slow:
		return fmt.Sprintf("no answer from %s in time: Svix gives up after %s", u.Host, signing.Timeout), fixLogs
	}
	return fmt.Sprintf("%s closed the connection without an answer", u.Host), fixLogs
}

func explainTLS(err error, u *url.URL, slow bool) (cause, fix string) {
	const fixCertificate = "install a certificate that is valid for the name, of a public authority, with the whole chain"
	var (
		notTLS    tls.RecordHeaderError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	host := u.Hostname()
	switch {
	case slow:
		return u.Host + " does not answer to TLS", "correct the port of the URL"
	case errors.As(err, &notTLS), strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		return "what listens at " + u.Host + " speaks no TLS", "correct the port of the URL, or terminate TLS there"
	case errors.As(err, &authority):
		return "the certificate of " + host + " is signed by an unknown authority", fixCertificate
	case errors.As(err, &name):
		return "the certificate of " + host + " is for another name", fixCertificate
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert.NotBefore.After(time.Now()):
		return fmt.Sprintf("the certificate of %s is valid from %s on only", host, day(invalid.Cert.NotBefore)), "wait, or correct this machine's clock"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("the certificate of %s has expired, on %s", host, day(invalid.Cert.NotAfter)), "renew it"
	}
	return fmt.Sprintf("no secure connection to %s: %v", u.Host, err), fixCertificate
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
