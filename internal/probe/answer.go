package probe

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/receiver"
	"github.com/clerksync/clerksync/internal/signing"
)

const (
	fixSecret = "use the secret from the Clerk dashboard → Webhooks → your endpoint, as CLERK_WEBHOOK_SIGNING_SECRET there and here"
	fixProxy  = "check the proxy in front of clerksync: it must pass the request unchanged"
	fixPath   = "correct the path of the URL: it is " + clerk.WebhookPath + ", unless the proxy in front of clerksync changes it"
)

// judge explains an answer other than 204.
func (r *Result) judge(resp *http.Response, u *url.URL) {
	status := fmt.Sprintf("%s answered %d", u.Host, resp.StatusCode)
	reason := resp.Header.Get(receiver.ReasonHeader)
	path := u.EscapedPath()
	if path == "" {
		path = "/" // as sent
	}
	switch code := resp.StatusCode; {
	case code/100 == 3:
		to := "elsewhere"
		if location, err := resp.Location(); err == nil {
			to = "to " + shown(location)
		}
		r.stop(AtRedirect, fmt.Sprintf("%s: it redirects %s, which Svix does not follow", status, to), "register the URL it redirects to, or remove the redirect")
	case code == http.StatusUnauthorized:
		r.judgeUnauthorized(reason, status)
	case reason == receiver.ReasonUnavailable:
		r.stop(AtUnavailable, "the receiver answers but cannot store events: its event log is down or full", "run clerksync doctor where the receiver runs; Svix retries for 28 hours")
	case reason == receiver.ReasonBusy:
		r.stop(AtUnavailable, "the receiver answers but has too many requests at once", "run more receivers; Svix retries")
	case code/100 == 2:
		r.stop(AtAnswer, status+", and clerksync answers 204: it is another program", fixPath)
	case code == http.StatusNotFound:
		r.stop(AtAnswer, fmt.Sprintf("%s: there is no endpoint at %s", status, path), fixPath)
	case code == http.StatusMethodNotAllowed:
		r.stop(AtAnswer, fmt.Sprintf("%s: what is at %s takes no POST", status, path), fixPath)
	case code == http.StatusRequestEntityTooLarge:
		r.stop(AtAnswer, status+": the body is too large for a proxy, at a few bytes", "let the proxy in front of clerksync take bodies up to 1 MiB")
	case code/100 == 5:
		r.stop(AtAnswer, status+", but not clerksync: a proxy in front of it does not reach it", "start clerksync, and check the proxy's upstream")
	case reason == receiver.ReasonBroken:
		r.stop(AtAnswer, status+": the body did not arrive whole", fixProxy)
	default:
		r.stop(AtAnswer, status+", but not clerksync: something in front of it refuses the request", fixProxy)
	}
}

// judgeUnauthorized explains a 401.
func (r *Result) judgeUnauthorized(reason, status string) {
	off := "more than 5 minutes"
	if r.ClockOff != nil && (*r.ClockOff > 60 || *r.ClockOff < -60) {
		off = time.Duration(max(*r.ClockOff, -*r.ClockOff) * float64(time.Second)).Round(time.Second).String()
	}
	const fixClock = "let NTP set the clock of both machines: if it is the endpoint's that is wrong, all deliveries are refused"
	switch reason {
	case signing.TooOld:
		r.stop(AtUnauthorized, "the endpoint's clock is "+off+" ahead of this machine's", fixClock)
	case signing.TooNew:
		r.stop(AtUnauthorized, "the endpoint's clock is "+off+" behind this machine's", fixClock)
	case signing.BadSignature:
		r.stop(AtUnauthorized, "the signature does not match: the secret is another, or a proxy changes the body", fixSecret)
	case signing.NoHeaders, signing.BadTimestamp:
		r.stop(AtUnauthorized, "the svix headers do not arrive as they were sent: a proxy removes or changes them", fixProxy)
	default:
		r.stop(AtAnswer, status+", but not clerksync: something in front of it asks for a login", fixProxy)
	}
}
