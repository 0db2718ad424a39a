package token

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"
)

const (
	// jwksPath is where the keys of an instance are, below its issuer.
	jwksPath = "/.well-known/jwks.json"

	// keysFor is how long keys are used before they are requested again, beside the
	// requests that use them: a key that Clerk withdrew is taken for so long.
	keysFor = time.Hour

	// minInterval is the least time between two requests for the keys, whatever tokens
	// come: a made-up key id causes one, and so does the first token after a rotation.
	minInterval = 5 * time.Second

	// jwksTimeout bounds a request. A token with an unknown key waits for it.
	jwksTimeout = 3 * time.Second

	// maxJWKS bounds its answer. Clerk's is 1 KB for each key.
	maxJWKS = 64 << 10
)

// jwks has the keys of a Clerk instance, which change when Clerk rotates them. When Clerk
// does not answer, the last ones stay.
type jwks struct {
	url      string
	http     *http.Client
	now      func() time.Time
	logger   *slog.Logger
	requests *prometheus.CounterVec

	keys   atomic.Pointer[keySet] // nil until there are some
	flight singleflight.Group

	// Of the flight, of which there is one at a time.
	ended   time.Time // the last request
	failing bool      // it failed
}

type keySet struct {
	byID      map[string]*rsa.PublicKey
	fetchedAt time.Time
}

func newJWKS(issuer string, now func() time.Time, logger *slog.Logger, requests *prometheus.CounterVec) *jwks {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true // the next request is an hour away
	return &jwks{
		url: issuer + jwksPath, now: now, logger: logger, requests: requests,
		http: &http.Client{
			Transport: transport,
			Timeout:   jwksTimeout,
			// Whoever may answer for the issuer may sign for everybody.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// key returns the key with an id. It waits for Clerk only when there is no such key.
func (j *jwks) key(ctx context.Context, kid string) (*rsa.PublicKey, error) {
	set := j.keys.Load()
	if set != nil && set.byID[kid] != nil {
		if j.now().Sub(set.fetchedAt) >= keysFor {
			j.refresh()
		}
		return set.byID[kid], nil
	}
	set = j.await(ctx)
	switch {
	case set == nil:
		return nil, &Error{KeysUnavailable, fmt.Sprintf("the keys of Clerk could not be fetched from %s yet; try again soon, or set CLERK_JWT_KEY, with which no request is needed", j.url)}
	case set.byID[kid] == nil:
		return nil, errKey
	}
	return set.byID[kid], nil
}

// await requests the keys, and returns those that there are then.
func (j *jwks) await(ctx context.Context) *keySet {
	select {
	case <-j.refresh():
	case <-ctx.Done():
	}
	return j.keys.Load()
}

// refresh requests the keys, unless that was just done. All callers share one request,
// which goes on when they are gone.
func (j *jwks) refresh() (ended <-chan singleflight.Result) {
	return j.flight.DoChan("", func() (any, error) {
		if !j.ended.IsZero() && j.now().Sub(j.ended) < minInterval {
			return nil, nil
		}
		keys, err := j.fetch()
		if err == nil {
			j.keys.Store(&keySet{byID: keys, fetchedAt: j.now()})
		}
		j.ended = j.now()
		j.report(err)
		return nil, nil
	})
}

// report counts a request, and logs when they begin and end to fail.
func (j *jwks) report(err error) {
	result := "ok"
	switch {
	case err != nil:
		result = "failed"
		if !j.failing {
			text := "Clerk's keys cannot be fetched; those at hand stay in use"
			if j.keys.Load() == nil {
				text = "Clerk's keys cannot be fetched, and there are none yet: every token gets 503 keys_unavailable; check CLERK_FRONTEND_API_URL or set CLERK_JWT_KEY"
			}
			j.logger.Warn(text, "url", j.url, "err", err)
		}
	case j.failing:
		j.logger.Info("Clerk's keys can be fetched again", "url", j.url)
	}
	j.failing = err != nil
	j.requests.WithLabelValues(result).Inc()
}

// fetch requests the keys.
func (j *jwks) fetch() (map[string]*rsa.PublicKey, error) {
	r, err := http.NewRequest(http.MethodGet, j.url, nil)
	if err != nil {
		return nil, errors.New("the issuer is no address")
	}
	r.Header.Set("User-Agent", "clerksync")
	answer, err := j.http.Do(r)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %d; is the issuer the Frontend API URL of the instance (Clerk dashboard → API keys)?", answer.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxJWKS+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer: %w", err)
	case len(body) > maxJWKS:
		return nil, fmt.Errorf("the answer is larger than %d KB", maxJWKS>>10)
	}
	return parseJWKS(body)
}

// parseJWKS returns the keys that sign tokens, by id. It leaves out every other one, such
// as one of an algorithm that Clerk adds, and fails when none is left.
func parseJWKS(body []byte) (map[string]*rsa.PublicKey, error) {
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, errors.New("the answer is no set of keys")
	}
	keys := map[string]*rsa.PublicKey{}
	for _, text := range set.Keys {
		var one jose.JSONWebKey
		if one.UnmarshalJSON(text) != nil {
			continue
		}
		key, isRSA := one.Key.(*rsa.PublicKey)
		if !isRSA || one.KeyID == "" || one.Use != "sig" || one.Algorithm != "" && one.Algorithm != string(jose.RS256) || checkKey(key) != nil {
			continue
		}
		keys[one.KeyID] = key
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("none of the %d keys is one of RSA, for signatures, with an id and %d bits or more", len(set.Keys), minBits)
	}
	return keys, nil
}
