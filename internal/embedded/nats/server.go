package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/clerksync/clerksync/internal/disk"
)

// Options configure an embedded NATS server.
type Options struct {
	Dir   string       // data folder of JetStream
	Token string       // that clients need to connect over the network
	Log   *slog.Logger // nil: discards
}

// Server is a NATS server with JetStream in this process. For the other commands, it
// listens on a free loopback port.
type Server struct {
	server *natsserver.Server
	token  string
	dir    string
	room   room

	mu      sync.Mutex
	streams map[string]*streamFiles

	erasing sync.Mutex // held by Erase
}

// maxPayload has room for the largest body that the receiver takes, with its headers.
const maxPayload = 2 << 20

// Start starts a server and waits until it accepts connections. Acknowledged messages
// survive the end of the process; to survive that of the machine, they need [Server.Sync].
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := finishErasing(o.Dir); err != nil {
		return nil, fmt.Errorf("finish an erasure: %w", err)
	}
	s, err := natsserver.NewServer(&natsserver.Options{
		ServerName:         "clerksync",
		Host:               "127.0.0.1",
		Port:               natsserver.RANDOM_PORT,
		Authorization:      o.Token,
		JetStream:          true,
		StoreDir:           o.Dir,
		JetStreamMaxMemory: 64 << 20, // of memory streams, of which there are none
		// By default, the server derives a limit from the free space at its start. Here
		// Room and the limits of the streams are the bounds.
		JetStreamMaxStore:     1 << 60,
		MaxPayload:            maxPayload,
		NoSigs:                true,
		DisableShortFirstPing: true,
	})
	if err != nil {
		return nil, fmt.Errorf("create the embedded NATS server: %w", err)
	}
	s.SetLoggerV2(natsLogger{o.Log}, false, false, false)
	s.Start()
	wait := 30 * time.Second // it reads a large log at the start, after a crash all of it
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(deadline))
	}
	if !s.ReadyForConnections(wait) {
		s.Shutdown()
		return nil, fmt.Errorf("the embedded NATS server did not start within %s: is %s readable, and is there room on the disk?", wait, o.Dir)
	}
	if !s.JetStreamEnabled() {
		s.Shutdown()
		return nil, errors.New("the embedded NATS server started without JetStream")
	}
	return &Server{server: s, token: o.Token, dir: o.Dir, room: room{dir: o.Dir, free: disk.Free}, streams: map[string]*streamFiles{}}, nil
}

// URL returns the address for other processes, with the token in it.
func (n *Server) URL() string {
	return strings.Replace(n.server.ClientURL(), "nats://", "nats://"+url.User(n.token).String()+"@", 1)
}

// Connect opens a connection within the process.
func (n *Server) Connect(options ...nats.Option) (*nats.Conn, error) {
	options = append(options, nats.InProcessServer(n.server), nats.Token(n.token))
	nc, err := nats.Connect("", options...)
	if err != nil {
		return nil, fmt.Errorf("connect to the embedded NATS server: %w", err)
	}
	return nc, nil
}

// Stop shuts the server down after its writes. A second call does nothing.
func (n *Server) Stop() {
	n.server.Shutdown()
	n.server.WaitForShutdown()
}

// natsLogger passes the server's log on. Its notices are details here.
type natsLogger struct{ log *slog.Logger }

func (l natsLogger) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l natsLogger) Debugf(format string, v ...any)  {}
func (l natsLogger) Tracef(format string, v ...any)  {}
func (l natsLogger) Warnf(format string, v ...any)   { l.log.Warn(fmt.Sprintf(format, v...)) }
func (l natsLogger) Errorf(format string, v ...any)  { l.log.Error(fmt.Sprintf(format, v...)) }
func (l natsLogger) Fatalf(format string, v ...any)  { l.log.Error(fmt.Sprintf(format, v...)) }
