package alert

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/clerksync/clerksync/internal/signing"
)

// timeout limits one try.
const timeout = 10 * time.Second

// Sender posts alerts to one URL. The URL is a secret: that of Slack has a token in its
// path, and others have one in the host's name. No error quotes any of it.
type Sender struct {
	url    string
	slack  bool
	signer *signing.Signer // nil: alerts are not signed
	host   string
	client *http.Client
}

// NewSender returns a sender. secret is "" for alerts without a signature. The error
// quotes neither.
func NewSender(to, secret string) (*Sender, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true // alerts are rare
	s := &Sender{
		url: to, slack: isSlack(to), host: host,
		client: &http.Client{Transport: transport, Timeout: timeout, CheckRedirect: signing.NoRedirects},
	}
	if secret != "" {
		if s.signer, err = signing.NewSigner(secret); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// isSlack reports whether a URL is an incoming webhook of Slack.
func isSlack(to string) bool {
	u, err := url.Parse(to)
	if err != nil {
		return false
	}
	host := strings.ToLower(u.Hostname())
	return host == "hooks.slack.com" || host == "hooks.slack-gov.com"
}

// Send makes one try and returns the status of the answer. Every status but 2xx is an
// error.
func (s *Sender) Send(ctx context.Context, a *Alert) (status int, err error) {
	a.Host = s.host
	body, err := a.body(s.slack)
	if err != nil {
		return 0, fmt.Errorf("encode an alert: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return 0, errors.New("it is not a URL")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "clerksync")
	if s.signer != nil {
		now := time.Now()
		signature, err := s.signer.Sign(a.id, now, body)
		if err != nil {
			return 0, err
		}
		req.Header.Set("Webhook-Id", a.id)
		req.Header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
		req.Header.Set("Webhook-Signature", signature)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, explain(err)
	}
	resp.Body.Close() // unread: its text is not ours to repeat
	switch code := resp.StatusCode; {
	case code/100 == 2:
		return code, nil
	case code/100 == 3:
		return code, fmt.Errorf("it answers %d: redirects are not followed", code)
	default:
		return code, fmt.Errorf("it answers %d", code)
	}
}

// explain returns the cause of a request without an answer in words of its own: those of
// net/http quote the URL and the host.
func explain(err error) error {
	var (
		slow        net.Error
		unknown     *net.DNSError
		certificate *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &unknown):
		return errors.New("the name of its host cannot be resolved")
	case errors.As(err, &slow) && slow.Timeout():
		return fmt.Errorf("no answer within %s", timeout)
	case errors.As(err, &certificate):
		return errors.New("its certificate is not valid")
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("it refuses connections")
	}
	return errors.New("the connection failed")
}
