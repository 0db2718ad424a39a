package cli_test

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"
)

// tamper URL discard|narrow|forget|purge|age: changes how the event log of a NATS server is
// kept: what is old is discarded, the consumer gets less, the dead letters are gone, the
// events are gone, they have an age limit.
func cmdTamper(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "tamper URL discard|narrow|forget|purge|age")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	nc, err := nats.Connect(args[0])
	ts.Check(err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	ts.Check(err)
	switch args[1] {
	case "discard":
		stream, err := js.Stream(ctx, "CLERK_EVENTS")
		ts.Check(err)
		config := stream.CachedInfo().Config
		config.Discard, config.MaxMsgs = jetstream.DiscardOld, 1000
		_, err = js.UpdateStream(ctx, config)
		ts.Check(err)
	case "narrow":
		consumer, err := js.Consumer(ctx, "CLERK_EVENTS", "projector")
		ts.Check(err)
		config := consumer.CachedInfo().Config
		config.MaxDeliver, config.FilterSubject = 5, "clerk.events.user.>"
		_, err = js.UpdateConsumer(ctx, "CLERK_EVENTS", config)
		ts.Check(err)
	case "purge":
		stream, err := js.Stream(ctx, "CLERK_EVENTS")
		ts.Check(err)
		ts.Check(stream.Purge(ctx))
	case "age":
		stream, err := js.Stream(ctx, "CLERK_EVENTS")
		ts.Check(err)
		config := stream.CachedInfo().Config
		config.MaxAge = time.Hour
		_, err = js.UpdateStream(ctx, config)
		ts.Check(err)
	case "forget":
		ts.Check(js.DeleteStream(ctx, "CLERK_DEAD"))
	default:
		ts.Fatalf("unknown: %s", args[1])
	}
}

// role VARIABLE URL NAME: makes a role that may do nothing, and the URL of the database
// for it.
func cmdRole(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3, "role VARIABLE URL NAME")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, args[1])
	ts.Check(err)
	name := pgx.Identifier{args[2]}.Sanitize()
	_, err = conn.Exec(ctx, "CREATE ROLE "+name+" LOGIN PASSWORD 'secret'")
	ts.Check(err)
	ts.Value(testKey{}).(testing.TB).Cleanup(func() { // before the database is dropped
		if _, err := conn.Exec(context.Background(), "DROP OWNED BY "+name+"; DROP ROLE "+name); err != nil {
			ts.Logf("drop role %s: %v", args[2], err)
		}
		conn.Close(context.Background())
	})
	u, err := url.Parse(args[1])
	ts.Check(err)
	u.User = url.UserPassword(args[2], "secret")
	ts.Setenv(args[0], u.String())
}
