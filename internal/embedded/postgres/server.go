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

// Options say where an embedded PostgreSQL keeps its data and how careful it is.
type Options struct {
	// Dir is the data folder of the cluster, created when missing and never wiped. Beside it stand <Dir>.log, the
	// server's log, and <Dir>.lock, held while the cluster is in use. Relative paths start at the working folder.
	Dir string
	// BinDir is the folder with initdb and postgres. Empty: PATH, pg_config and the usual folders are searched.
	BinDir string
	// Port is the wanted port. 0, or a port that somebody else has: a free one.
	Port int
	// Unsafe turns fsync, synchronous_commit and full_page_writes off: for tests, whose data nobody will miss. A server
	// that is killed then loses its last moments, and a power cut may ruin the cluster.
	Unsafe bool
	// Install allows to install PostgreSQL with apt-get when none is found (Debian and Ubuntu, as root), after
	// saying so through Log.
	Install bool
	// Log receives what the start has to say. Nil discards. The server's own log goes to <Dir>.log.
	Log *slog.Logger
	// Settings are further server settings, as in postgresql.conf. They win over this package's defaults, but not
	// over where the server listens.
	Settings map[string]string
}

// Server is a running PostgreSQL server, a child of this process.
type Server struct {
	password string
	port     int
	process  *process
	log      *serverLog
	cleanup  func() error // what is left to give back when the process has ended

	stopping atomic.Bool
	done     chan struct{}
	err      error // written before done is closed
}

// ErrUnreachable means that the user who runs the server cannot enter the data folder.
var ErrUnreachable = errors.New("data folder out of reach")

// Start starts the server of the cluster in o.Dir, after creating the cluster when there is none, and returns
// when the server accepts connections. ctx bounds the start alone: the server lives until Stop, or until this process
// ends, however it ends.
//
// A first start takes about a second, a later one a tenth of that; a server that recovers after a crash is given the
// time it needs as long as its log shows progress.
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
		RawQuery: "sslmode=disable", // loopback, and the server has no certificate: saves clients the question
	}
	return u.String()
}

// Port returns the port that the server listens on.
func (p *Server) Port() int { return p.port }

// Done returns a channel that is closed when the server process has ended, whatever the reason.
func (p *Server) Done() <-chan struct{} { return p.done }

// Err says why the server ended, with the last lines of its log. It is nil while the server runs and after a Stop.
func (p *Server) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Stop shuts the server down and waits for its end. Open connections are closed and everything is written out; when
// ctx ends first the server is made to end at once, which loses no committed transaction (but see Unsafe) and costs the
// next start a recovery, and Stop returns an error that says so. Stop may be called many times and concurrently.
func (p *Server) Stop(ctx context.Context) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	p.stopping.Store(true)
	p.process.signal(syscall.SIGINT) // "fast shutdown": does not wait for clients to leave
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	}
	how := p.process.abort()
	<-p.done
	return fmt.Errorf("stop postgres: orderly shutdown did not finish (%w): ended by %s", context.Cause(ctx), how)
}

// watch waits for the end of the server and gives back what it held.
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

// wantedFirst returns a source of ports: the wanted one, if there is one, then free ones. Whether the wanted one is free
// is for the server to find out, after it has made sure that it is not its own killed predecessor that still has it.
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

// freePort asks the kernel for a port that nobody uses on loopback. Somebody may take it before the server does, so
// the caller must be ready to ask again.
func freePort() (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
