package eventlog

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// link knows whether the connection is up. A server that went away answers nothing
// any more: without this, everybody would wait for its answers to the end.
type link struct {
	nc   *nats.Conn
	life atomic.Pointer[life]
}

// life is one time of the connection, from its making to its loss.
type life struct {
	ctx context.Context
	end context.CancelCauseFunc
}

func newLink(nc *nats.Conn) *link {
	k := &link{nc: nc}
	k.begin()
	if !nc.IsConnected() {
		k.life.Load().end(errLost)
	}
	return k
}

func (k *link) begin() {
	ctx, end := context.WithCancelCause(context.Background())
	k.life.Store(&life{ctx, end})
}

// watch follows the connection until closing.
func (k *link) watch(closing <-chan struct{}) {
	status := k.nc.StatusChanged(nats.CONNECTED, nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	defer k.nc.RemoveStatusListener(status)
	for {
		if k.nc.IsConnected() {
			if k.life.Load().ctx.Err() != nil {
				k.begin()
			}
		} else {
			k.life.Load().end(errLost)
		}
		select {
		case _, ok := <-status: // what it is now is asked above: a full channel drops some
			if !ok {
				return
			}
		case <-closing: // what is under way is waited for
			return
		}
	}
}

// whileUp is a context that ends after commitTimeout, and together with the
// connection.
func (k *link) whileUp(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(parent)
	timer := time.AfterFunc(commitTimeout, func() { end(errNoAnswer) })
	detach := context.AfterFunc(k.life.Load().ctx, func() { end(errLost) })
	return ctx, func() {
		timer.Stop()
		detach()
		end(nil)
	}
}
