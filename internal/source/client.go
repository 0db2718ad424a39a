package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/clerksync/clerksync/internal/clerk"
)

const (
	// apiVersion is the version of the Backend API whose answers this package reads.
	apiVersion = "2026-05-12"

	// requestTimeout bounds one request with its answer. A page of 500 large users takes
	// seconds.
	requestTimeout = time.Minute

	// maxAnswer bounds an answer: 500 users with full metadata are about 15 MB.
	maxAnswer = 64 << 20

	// maxErrorBody bounds what is read of an answer that is an error.
	maxErrorBody = 64 << 10

	// attempts is how often a request is sent before the run gives up. Between two of them
	// it waits, firstPause after the first, then twice as long each time, up to maxPause.
	attempts   = 8
	firstPause = 500 * time.Millisecond
	maxPause   = 30 * time.Second

	// maxRetryAfter is the longest time that Clerk may ask to wait.
	maxRetryAfter = 5 * time.Minute
)

// Options configure a [Client].
type Options struct {
	SecretKey string
	URL       string // of the Backend API, without /v1
	Rate      int    // requests in ten seconds; 0: as many as Clerk allows, by the key
	Transport http.RoundTripper
}

// Client reads from Clerk's Backend API. It keeps to the rate limit and retries. The
// official SDK is not used: it has no cursor, knows no memberships of the whole instance,
// and drops fields that it does not know.
type Client struct {
	key    string
	base   string
	http   *http.Client
	budget *budget
	rate   int

	testOnlyPause time.Duration // after the first attempt; 0: firstPause
}

// NewClient returns a client. It sends nothing.
func NewClient(o Options) *Client {
	if o.Rate == 0 {
		o.Rate = RateOf(o.SecretKey)
	}
	if o.Transport == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost = inFlight
		o.Transport = transport
	}
	return &Client{
		key: o.SecretKey, base: strings.TrimRight(o.URL, "/") + "/v1", budget: newBudget(o.Rate), rate: o.Rate,
		http: &http.Client{
			Transport: o.Transport,
			// The key is for this address only.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Close closes the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// APIError is an answer of the Backend API that is no success.
type APIError struct {
	Request string // GET /users, without the query
	Status  int
	Code    string // Clerk's word for it, or ""

	retryAfter time.Duration // 0 when the answer does not say
}

func (e *APIError) Error() string {
	text := fmt.Sprintf("Clerk answered %s with %d", e.Request, e.Status)
	if e.Code != "" {
		text += " " + e.Code
	}
	return text
}

// temporary reports whether the same request can succeed later.
func (e *APIError) temporary() bool {
	return e.Status == http.StatusTooManyRequests || e.Status == http.StatusRequestTimeout || e.Status >= 500
}

// isNotFound reports whether Clerk answered that there is no such thing.
func isNotFound(err error) bool {
	answer, ok := errors.AsType[*APIError](err)
	return ok && answer.Status == http.StatusNotFound
}

// errUnreadable means that an answer ended early or is no JSON.
var errUnreadable = errors.New("the answer is cut off, or not JSON")

// errTooLarge means that an answer is over maxAnswer.
var errTooLarge = fmt.Errorf("the answer is larger than %d MB", maxAnswer>>20)

// get requests a path, again and again while that may help, and decodes the answer.
func (c *Client) get(ctx context.Context, path string, query url.Values, into any) error {
	var wait time.Duration
	var failed error // the attempt before
	pause := cmp.Or(c.testOnlyPause, firstPause)
	for attempt := 1; ; attempt++ {
		stopped := sleep(ctx, wait)
		if stopped == nil {
			stopped = c.budget.wait(ctx)
		}
		if stopped != nil && failed != nil {
			return fmt.Errorf("%w, %d times: %w", failed, attempt-1, stopped)
		}
		if stopped != nil {
			return stopped
		}
		err := c.try(ctx, http.MethodGet, path, query, into)
		if err == nil || ctx.Err() != nil {
			return err
		}
		answer, answered := errors.AsType[*APIError](err)
		switch {
		case answered && !answer.temporary(), errors.Is(err, errTooLarge):
			return err
		case attempt == attempts:
			return fmt.Errorf("%w, %d times", err, attempts)
		case answered && answer.Status == http.StatusTooManyRequests:
			if answer.retryAfter > maxRetryAfter {
				return fmt.Errorf("%w, and asks to wait for %s", err, answer.retryAfter)
			}
			if answer.retryAfter > 0 {
				c.budget.pause(answer.retryAfter)
			} else {
				c.budget.pause(window)
			}
			wait, failed = 0, err
			continue
		case answered && answer.retryAfter > 0 && answer.retryAfter <= maxRetryAfter:
			pause = max(pause, answer.retryAfter)
		}
		wait, failed, pause = pause, err, min(2*pause, maxPause)
	}
}

// try sends one request.
func (c *Client) try(ctx context.Context, method, path string, query url.Values, into any) error {
	request := method + " " + path
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, fmt.Errorf("no whole answer within %s", requestTimeout))
	defer cancel()
	address := c.base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return fmt.Errorf("%s: CLERK_API_URL is no address", request)
	}
	r.Header.Set("Authorization", "Bearer "+c.key)
	r.Header.Set("Clerk-API-Version", apiVersion)
	r.Header.Set("User-Agent", "clerksync")
	answer, err := c.http.Do(r)
	if err != nil {
		return requestError(ctx, request, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return readError(request, answer)
	}
	limited := &io.LimitedReader{R: answer.Body, N: maxAnswer + 1}
	err = json.UnmarshalRead(limited, into, lenient)
	switch {
	case limited.N <= 0:
		return fmt.Errorf("%s: %w", request, errTooLarge)
	case err != nil && ctx.Err() != nil:
		return requestError(ctx, request, err)
	case err != nil: // its text may quote the content
		return fmt.Errorf("%s: %w", request, errUnreadable)
	}
	return nil
}

// lenient takes what Clerk passes on; each entity is checked on its own.
var lenient = json.JoinOptions(jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))

// requestError returns the error of a request without an answer. net/http's quotes the
// address.
func requestError(ctx context.Context, request string, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%s: %w", request, cause)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if errors.Is(err, io.EOF) { // before the first byte
		err = errUnreadable
	}
	return fmt.Errorf("%s: %w", request, err)
}

// readError returns the error of an answer that is no success. Of the body it takes only
// the code: the texts may quote the request.
func readError(request string, answer *http.Response) error {
	e := &APIError{Request: request, Status: answer.StatusCode, retryAfter: retryAfter(answer.Header.Get("Retry-After"))}
	var body struct {
		Errors []struct {
			Code string `json:"code"`
		} `json:"errors"`
	}
	if json.UnmarshalRead(io.LimitReader(answer.Body, maxErrorBody), &body) == nil && len(body.Errors) > 0 && clerk.ValidToken(body.Errors[0].Code) {
		e.Code = body.Errors[0].Code
	}
	return e
}

// retryAfter reads the header: seconds, or a date.
func retryAfter(text string) time.Duration {
	if seconds, err := strconv.Atoi(text); err == nil && seconds > 0 {
		return time.Duration(min(seconds, 1<<20)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// list is an answer with many entities. Clerk sends users as a bare array, all else with
// the total.
type list struct {
	items []jsontext.Value
	total int64
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (l *list) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*l = list{}
	if dec.PeekKind() == '[' {
		return json.UnmarshalDecode(dec, &l.items)
	}
	wrapped := struct {
		Data  *[]jsontext.Value `json:"data"`
		Total int64             `json:"total_count"`
	}{}
	if err := json.UnmarshalDecode(dec, &wrapped); err != nil {
		return err
	}
	if wrapped.Data == nil {
		return errUnreadable
	}
	l.items, l.total = *wrapped.Data, wrapped.Total
	return nil
}

var (
	// ErrKey means that Clerk does not take the secret key.
	ErrKey = errors.New("the secret key is not taken by Clerk")

	// ErrInstance means that the secret key is of another instance than expected.
	ErrInstance = errors.New("the secret key is of another Clerk instance")
)

// Instance returns the id of the instance that the key belongs to. The error is [ErrKey]
// when Clerk does not take it, and [ErrInstance] when the id is not the wanted one; ""
// wants any.
func (c *Client) Instance(ctx context.Context, wanted string) (string, error) {
	var instance struct {
		ID string `json:"id"`
	}
	err := c.get(ctx, "/instance", nil, &instance)
	if answer, ok := errors.AsType[*APIError](err); ok {
		switch answer.Status {
		// 404 is the answer to a key whose instance is gone.
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
			return "", fmt.Errorf("%w: %w", ErrKey, answer)
		}
	}
	if err != nil {
		return "", err
	}
	if !clerk.ValidToken(instance.ID) {
		return "", errors.New("GET /instance: the answer does not name the instance of the secret key")
	}
	if wanted != "" && instance.ID != wanted {
		return "", fmt.Errorf("%w: %s, wanted %s", ErrInstance, instance.ID, wanted)
	}
	return instance.ID, nil
}
