package eventlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The oldest NATS server that clerksync works with, and its API level.
const (
	oldestServer = "2.12"
	oldestLevel  = 2
)

// checkServer returns an error unless the server has a JetStream that clerksync can use.
func (l *Log) checkServer(ctx context.Context, domain string) error {
	account, err := l.accountInfo(ctx)
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled) && domain != "":
		return &Refusal{fmt.Errorf("no JetStream answers in the domain %s", domain), "correct CLERKSYNC_NATS_DOMAIN; if the domain is behind a leaf node, check its connection"}
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		return &Refusal{errors.New("the NATS server has no JetStream"), "add jetstream {} to its configuration; if another server has it, CLERKSYNC_NATS_DOMAIN names that one's domain"}
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return &Refusal{errors.New("JetStream is not enabled for the NATS account"), "enable it (jetstream: enabled, or nsc edit account), or name a user of another account in NATS_URL, CLERKSYNC_NATS_CREDS or CLERKSYNC_NATS_NKEY"}
	case err != nil:
		return err
	case account.API.Level < oldestLevel:
		return &Refusal{fmt.Errorf("the NATS server %s is too old", l.nc.ConnectedServerVersion()), "clerksync needs " + oldestServer + " or newer: upgrade the server"}
	}
	return nil
}

func (l *Log) accountInfo(ctx context.Context) (account *jetstream.AccountInfo, err error) {
	err = l.permitted.ask(ctx, ".API.INFO", func(ctx context.Context) (err error) {
		account, err = l.js.AccountInfo(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask JetStream for its limits: %w", err)
	}
	return account, nil
}

// checkPublish returns an error unless the user may publish below a subject. The message
// names a stream that does not take it, so that nothing is stored.
func (l *Log) checkPublish(ctx context.Context, subject string) error {
	msg := nats.NewMsg(subject + ".clerksync.check.-.-.-")
	msg.Header.Set(jetstream.ExpectedStreamHeader, "none")
	err := l.permitted.ask(ctx, msg.Subject, func(ctx context.Context) error {
		_, err := l.request(ctx, msg)
		return err
	})
	if d, ok := errors.AsType[*deniedError](err); ok {
		if !d.reply() {
			d.subject = subject + ".>"
		}
		return d
	}
	if _, answered := errors.AsType[*refusedError](err); answered && !leaderless(err) {
		return nil
	}
	return err
}
