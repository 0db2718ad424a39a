package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
)

// eventLog is what a command needs to reach the stored events.
type eventLog struct {
	NATSURL   config.Secret `name:"nats-url" env:"NATS_URL" placeholder:"URL" help:"NATS server with the event log. Without it, that of the clerksync running here."`
	NATSCreds string        `name:"nats-creds" env:"CLERKSYNC_NATS_CREDS" type:"path" placeholder:"FILE" help:"Credentials file for NATS."`
}

// openLog opens the event log that was named, or that of the clerksync running here.
// d is the database that the command works with as well, nil when there is none. What
// comes with the log closes it.
func (e *eventLog) openLog(s *session, p *place, d *database) (*eventlog.Log, func(), error) {
	log, done, err := e.connect(s, p, d)
	var wrongUse usageError
	switch {
	case err == nil, errors.Is(err, eventlog.ErrNoLog), errors.As(err, &wrongUse):
		return log, done, err
	case errors.Is(err, errConnect) && e.NATSURL != "":
		return nil, nil, fmt.Errorf("no event log: %w; is NATS_URL right, and is the server running?", err)
	}
	return nil, nil, fmt.Errorf("no event log: %w", err)
}

// deployment is what a command needs that works on rows and events.
type deployment struct {
	eventLog `embed:""`
	database `embed:""`
	place    `embed:""`
}

// open opens both, of one deployment. What comes with them closes them.
func (d *deployment) open(s *session) (*store.Store, *eventlog.Log, func(), error) {
	st, err := d.openStore(s, &d.place)
	if err != nil {
		return nil, nil, nil, err
	}
	log, done, err := d.openLog(s, &d.place, &d.database)
	if err != nil {
		st.Close()
		return nil, nil, nil, err
	}
	return st, log, func() { done(); st.Close() }, nil
}

var errConnect = errors.New("connect to NATS")

// connect is openLog for those to whom the log is one thing among others: its errors
// are the end of a sentence.
func (e *eventLog) connect(s *session, p *place, d *database) (*eventlog.Log, func(), error) {
	if err := config.CheckNATSURL(e.NATSURL); err != nil {
		return nil, nil, usageError("NATS_URL is " + err.Error())
	}
	url := e.NATSURL.Reveal()
	if url == "" {
		running, err := app.FindRunning(p.DataDir)
		if errors.Is(err, app.ErrNotRunning) {
			return nil, nil, fmt.Errorf("set NATS_URL (%s)", notRunning(err))
		}
		if err != nil {
			return nil, nil, err
		}
		// Rows and events of two different deployments would tell a false story.
		if d != nil && d.URL != "" && d.URL.Reveal() != running.DatabaseURL {
			return nil, nil, errors.New("set NATS_URL (the clerksync running here uses another database than DATABASE_URL)")
		}
		url = running.NATSURL
	}
	options := []nats.Option{
		nats.Name("clerksync command"), nats.Timeout(5 * time.Second),
		// A server that restarts is waited for, one that is gone is not.
		nats.MaxReconnects(10), nats.ReconnectWait(500 * time.Millisecond), nats.ReconnectBufSize(-1),
		// Without it they are printed. What they mean for the command, it says itself.
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			s.logger.Debug("NATS reported an error", "err", err)
		}),
	}
	if e.NATSCreds != "" {
		options = append(options, nats.UserCredentials(e.NATSCreds))
	}
	nc, err := nats.Connect(url, options...)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errConnect, err)
	}
	log, err := eventlog.Attach(s.ctx, nc)
	if err == nil && e.NATSURL != "" && d != nil && d.URL == "" {
		err = checkSame(p, url)
	}
	if err != nil {
		if log != nil {
			log.Close()
		}
		nc.Close()
		return nil, nil, err
	}
	return log, func() { log.Close(); nc.Close() }, nil
}

// checkSame refuses the log that was named when the database is that of a clerksync
// running here which has another.
func checkSame(p *place, url string) error {
	running, err := app.FindRunning(p.DataDir)
	if err == nil && running.NATSURL != url {
		return errors.New("set DATABASE_URL (the clerksync running here uses another event log than NATS_URL)")
	}
	return nil // who is not running has no database either
}
