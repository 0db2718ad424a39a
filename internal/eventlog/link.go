package eventlog

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// link knows whether the connection is up. Without it, requests to a server that is gone
// would wait until they time out.
type link struct {
	nc   *nats.Conn
	life atomic.Pointer[life]
}

// life is the time from one connect to the loss of the connection.
type life struct {
	ctx   context.Context
	end   context.CancelCauseFunc
	began time.Time
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
	k.life.Store(&life{ctx, end, time.Now()})
}

// leaveNode connects to another node of the cluster. This one answers its clients, but has
// not answered for JetStream: it may have lost the other nodes. Each gets the time of a
// commit, in which a leader may be elected.
func (l *Log) leaveNode() {
	life := l.link.life.Load()
	if life.ctx.Err() != nil || time.Since(life.began) < commitTimeout {
		return
	}
	life.end(errLost)
	l.logger.Warn("JetStream does not answer through this NATS server, connecting to another")
	if err := l.nc.ForceReconnect(); err != nil {
		l.logger.Warn("the connection to NATS was not made again", "err", err)
	}
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
		case _, ok := <-status: // only a signal to check: a full channel drops some
			if !ok {
				return
			}
		case <-closing:
			return
		}
	}
}

// whileUp returns a context that ends after limit, or with the connection.
func (k *link) whileUp(parent context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, _, cancel := k.whileAnswering(parent, limit)
	return ctx, cancel
}

// whileAnswering returns a context that ends with the connection, or when answered was not
// called for the time of limit.
func (k *link) whileAnswering(parent context.Context, limit time.Duration) (ctx context.Context, answered func(), cancel context.CancelFunc) {
	ctx, end := context.WithCancelCause(parent)
	timer := time.AfterFunc(limit, func() { end(noAnswer(limit)) })
	detach := context.AfterFunc(k.life.Load().ctx, func() { end(errLost) })
	return ctx, func() { timer.Reset(limit) }, func() {
		timer.Stop()
		detach()
		end(nil)
	}
}
