package eventlog

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// permissions follows what the server does not permit. It does not answer such a request:
// it reports it to the connection, with the subject.
type permissions struct {
	mu        sync.Mutex
	listeners map[int]func(*deniedError) (handled bool)
	next      int
}

// follow listens to the errors of the connection. Its own handler gets those that nobody
// handles here.
func (p *permissions) follow(nc *nats.Conn) {
	p.listeners = map[int]func(*deniedError) bool{}
	before := nc.ErrorHandler()
	nc.SetErrorHandler(func(nc *nats.Conn, sub *nats.Subscription, err error) {
		if d := denied(err); (d == nil || !p.tell(d)) && before != nil {
			before(nc, sub, err)
		}
	})
}

func (p *permissions) tell(d *deniedError) (handled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, tell := range p.listeners {
		handled = tell(d) || handled
	}
	return handled
}

// listen has tell called for every permission that is missing, until stop.
func (p *permissions) listen(tell func(*deniedError) (handled bool)) (stop func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := p.next
	p.next++
	p.listeners[id] = tell
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.listeners, id)
	}
}

// ask calls f, which sends a request to a subject with this part. The error is a
// [*deniedError] when the server reports that it does not permit that.
func (p *permissions) ask(ctx context.Context, part string, f func(context.Context) error) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer p.listen(func(d *deniedError) bool {
		ours := d.reply() || strings.Contains(d.subject, part)
		if ours {
			end(d)
		}
		return ours
	})()
	err := f(ctx)
	if d := (*deniedError)(nil); err != nil && errors.As(context.Cause(ctx), &d) {
		return d
	}
	return err
}

// deniedError is a permission that the NATS user lacks. It is a [*Refusal].
type deniedError struct {
	subject string
	err     error
}

var quotedSubject = regexp.MustCompile(`"(\S+)"`)

// denied returns the permission that an error of the connection is about, nil for none.
func denied(err error) *deniedError {
	found := quotedSubject.FindStringSubmatch(err.Error())
	if !errors.Is(err, nats.ErrPermissionViolation) || found == nil {
		return nil
	}
	return &deniedError{found[1], err}
}

// reply reports whether answers to our requests are denied.
func (e *deniedError) reply() bool { return strings.HasPrefix(e.subject, "_INBOX.") }

func (e *deniedError) Error() string { return e.refusal().Error() }

func (e *deniedError) Unwrap() error { return e.refusal() }

func (e *deniedError) refusal() *Refusal {
	fix := "let the NATS user publish to " + e.subject
	switch {
	case e.reply():
		fix = "let the NATS user subscribe to _INBOX.>"
	case strings.HasPrefix(e.subject, "$JS.ACK."):
		fix = "let the NATS user publish to $JS.ACK.>"
	}
	return &Refusal{e.err, fix}
}

func isDenied(err error) bool {
	_, ok := errors.AsType[*deniedError](err)
	return ok
}
