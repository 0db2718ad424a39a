package signing

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"math/big"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	svix "github.com/svix/svix-webhooks/go"

	"github.com/clerksync/clerksync/internal/clerk"
)

// Timeout is the time limit of Svix for an answer.
const Timeout = 15 * time.Second

// Signer signs deliveries with one secret.
type Signer struct{ webhook *svix.Webhook }

// NewSigner returns a signer. The error does not quote the secret.
func NewSigner(secret string) (*Signer, error) {
	webhook, err := newWebhook(secret)
	if err != nil {
		return nil, err
	}
	return &Signer{webhook}, nil
}

// Sign returns the signature of a body, as Svix and Standard Webhooks write it.
func (s *Signer) Sign(id string, at time.Time, body []byte) (string, error) {
	signature, err := s.webhook.Sign(id, at, body)
	if err != nil {
		return "", errors.New("the signing secret is not usable")
	}
	return signature, nil
}

// Request returns the request with which Svix would deliver a body.
func (s *Signer) Request(ctx context.Context, endpoint, id string, at time.Time, body []byte) (*http.Request, error) {
	signature, err := s.Sign(id, at, body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "clerksync")
	req.Header.Set(headerID, id)
	req.Header.Set(headerTimestamp, strconv.FormatInt(at.Unix(), 10))
	req.Header.Set(headerSignature, signature)
	return req, nil
}

// NoRedirects is for http.Client.CheckRedirect: like Svix, it follows none.
func NoRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// CheckURL checks the URL of an endpoint. The error does not quote the URL, which may have
// a password in it.
func CheckURL(raw string) error {
	_, err := ParseURL(raw)
	return err
}

// ParseURL parses the URL of an endpoint and checks it as [CheckURL] does.
func ParseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("not of the form https://host" + clerk.WebhookPath)
	case u.User != nil:
		return nil, errors.New("there is a user or a password in it, which Svix does not send")
	}
	if port := u.Port(); port != "" {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return nil, errors.New("its port is above 65535")
		}
	}
	return u, nil
}

// NewID returns a random id in the form of Svix.
func NewID() string {
	const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	var id strings.Builder
	id.WriteString("msg_")
	for range 27 {
		n, _ := rand.Int(rand.Reader, big.NewInt(int64(len(letters)))) // never fails
		id.WriteByte(letters[n.Int64()])
	}
	return id.String()
}

// NewSecret returns a random secret in the form of Svix.
func NewSecret() string {
	key := make([]byte, minSecret)
	rand.Read(key)
	return secretPrefix + base64.StdEncoding.EncodeToString(key)
}
