package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"sync/atomic"
	"syscall"
)

// superuser is the role that initdb creates and that URL names.
const superuser = "postgres"

// Options configure an embedded PostgreSQL.
type Options struct {
	// Dir is the data folder of the cluster, created when missing and never wiped. Next to it are <Dir>.log, the
	// server's log, and <Dir>.lock, held while the cluster is in use.
	Dir string
	// BinDir is the folder with initdb and postgres. Empty means to search PATH, pg_config and the usual folders.
	BinDir string
	// Port is the preferred port. The server takes a free one when it is 0 or in use.
	Port int
	// Unsafe turns fsync, synchronous_commit and full_page_writes off, for tests: a killed server loses its last
	// commits, and a power cut can corrupt the cluster.
	Unsafe bool
	// Install allows the installation of PostgreSQL with apt-get when none is found (Debian and Ubuntu, as root).
	// Log announces it.
	Install bool
	// Log is for messages of the start; nil discards them. The server's own log is <Dir>.log.
	Log *slog.Logger
	// Settings are further server settings, as in postgresql.conf. They override this package's defaults, but not
	// where the server listens.
	Settings map[string]string
}

// Server is a running PostgreSQL server, a child of this process.
type Server struct {
	password string
	port     int
	process  *process
	log      *serverLog
	cleanup  func() error // for when the process has ended

	stopping atomic.Bool
	done     chan struct{}
	err      error // written before done is closed
}

// ErrUnreachable means that the server's user cannot enter the data folder.
var ErrUnreachable = errors.New("data folder out of reach")

// Start starts the server of the cluster in o.Dir, which it creates when there is none, and returns when the server
// accepts connections. ctx bounds only the start: the server runs until Stop, or until this process ends in any way.
//
// A first start takes about a second, a later one a tenth of that. A recovery after a crash may take any time as long
// as the log shows progress.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Dir == "" {
		return nil, errors.New("start postgres: no data folder given")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p, err := startServer(ctx, o, wantedFirst(o.Port))
	if err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	return p, nil
}

// URL returns the connection string of a database on this server, for the superuser and with its password: it is a
// secret. The database need not exist yet; "postgres" always does.
func (p *Server) URL(database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, p.password),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)),
		Path:     "/" + database,
		RawQuery: "sslmode=disable", // loopback, and the server has no certificate
	}
	return u.String()
}

// Port returns the port that the server listens on.
func (p *Server) Port() int { return p.port }

// Done returns a channel that is closed when the server process has ended, for any reason.
func (p *Server) Done() <-chan struct{} { return p.done }

// Err returns why the server ended, with the last lines of its log. It is nil while the server runs and after Stop.
func (p *Server) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Stop shuts the server down and waits for its end. When ctx ends first, Stop ends the server at once and returns an
// error: no committed transaction is lost (but see Unsafe), and the next start does a recovery. Stop can be called
// again, and concurrently.
func (p *Server) Stop(ctx context.Context) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	p.stopping.Store(true)
	p.process.signal(syscall.SIGINT) // "fast shutdown": disconnects clients
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	}
	how := p.process.abort()
	<-p.done
	return fmt.Errorf("stop postgres: orderly shutdown did not finish (%w): ended by %s", context.Cause(ctx), how)
}

// watch waits for the end of the server and cleans up after it.
func (p *Server) watch() {
	<-p.process.exited
	if !p.stopping.Load() {
		p.err = fmt.Errorf("postgres (pid %d) ended: %s%s", p.process.pid(), p.process.state(), p.log.tail())
	}
	if err := p.cleanup(); err != nil && p.err == nil {
		p.err = fmt.Errorf("clean up after postgres: %w", err)
	}
	close(p.done)
}

// wantedFirst returns a source of ports: the wanted one, if any, then free ones. Only the server tests whether the
// wanted one is free: its killed predecessor may still hold it for a moment.
func wantedFirst(port int) func() (int, error) {
	return func() (int, error) {
		if port == 0 {
			return freePort()
		}
		wanted := port
		port = 0
		return wanted, nil
	}
}

// freePort returns a port that is free on loopback. Another process can take it before the server does, so the caller
// must be ready to retry.
func freePort() (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
