package loadtest

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/clerksync/clerksync/internal/receiver"
	"github.com/clerksync/clerksync/internal/signing"
)

// stopTimeout is how long answers are awaited after the user has ended the run.
const stopTimeout = 2 * time.Second

// sender posts events over keep-alive connections, HTTP/1.1 as Svix uses.
type sender struct {
	url         string
	signer      *signing.Signer
	client      *http.Client
	connections int
}

func newSender(o *Options, signer *signing.Signer) *sender {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &sender{url: o.URL, signer: signer, connections: o.Connections, client: &http.Client{
		Timeout: signing.Timeout, CheckRedirect: signing.NoRedirects,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: signing.Timeout}).DialContext, Protocols: protocols,
			MaxIdleConns: o.Connections, MaxIdleConnsPerHost: o.Connections, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
		},
	}}
}

// plan says which events are sent, and when.
type plan struct {
	events uint64        // 0: no limit
	rate   float64       // events per second that are due; 0: the next one after an answer
	limit  time.Duration // nothing is sent later; 0: no limit
	event  func(n uint64, due time.Time) (id string, body []byte)
}

// due returns when the n-th event is to be sent, the zero time for at once.
func (p *plan) due(began time.Time, n uint64) (due time.Time) {
	if p.rate > 0 {
		due = began.Add(time.Duration(float64(n) / p.rate * float64(time.Second)))
	}
	return due
}

// send carries out a plan, until ctx ends or the tally has seen enough failures. Each
// connection has one request at a time. An event that is due while all are busy waits, and
// its latency counts from when it was due: a deployment that stalls cannot hide it.
func (s *sender) send(ctx context.Context, p plan, t *tally) {
	began := t.begin()
	requests, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopTimeout, cut) })()
	sending, stop := context.WithCancel(ctx)
	defer stop()
	if p.limit > 0 {
		defer time.AfterFunc(p.limit, stop).Stop()
	}
	var all sync.WaitGroup
	for range s.connections {
		all.Go(func() {
			free := began
			for {
				n, more := t.take(p.events)
				if !more {
					return
				}
				due := p.due(began, n)
				if !waitUntil(sending, due) {
					t.giveBack()
					return
				}
				now := time.Now()
				if due.IsZero() {
					due = now
				}
				late := now.Sub(later(due, free))
				a := s.post(requests, p, n, due)
				free = time.Now()
				if !t.answered(n, a, measure{latency: free.Sub(due), service: free.Sub(now), late: late}) {
					stop()
					return
				}
			}
		})
	}
	all.Wait()
	t.end(p, began, ctx.Err() == nil)
}

// waitUntil waits for a time. It reports false when ctx has ended.
func waitUntil(ctx context.Context, at time.Time) bool {
	if wait := time.Until(at); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
	return ctx.Err() == nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// answer is what became of a request.
type answer struct {
	Status int    // 0 when there was no answer
	Reason string // of clerksync for a refusal; without an answer "timeout", "connection" or "stopped"
}

// stopped is for a request that was in flight when the user ended the run.
var stopped = answer{0, "stopped"}

// post sends one event.
func (s *sender) post(ctx context.Context, p plan, n uint64, due time.Time) answer {
	id, body := p.event(n, due)
	req, err := s.signer.Request(ctx, s.url, id, time.Now(), body)
	if err != nil {
		return answer{0, "request"}
	}
	req.Header["X-Idempotency-Key"] = nil // net/http may send it again when the server closes an idle connection
	resp, err := s.client.Do(req)
	switch {
	case err != nil && ctx.Err() != nil:
		return stopped
	case isTimeout(err):
		return answer{0, "timeout"}
	case err != nil:
		return answer{0, "connection"}
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection is used again
	return answer{resp.StatusCode, resp.Header.Get(receiver.ReasonHeader)}
}

func isTimeout(err error) bool {
	late, ok := err.(net.Error) // of net/http always a *url.Error
	return ok && late.Timeout()
}
