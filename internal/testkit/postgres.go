package testkit

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/clerksync/clerksync/internal/embedded/postgres"
	"github.com/clerksync/clerksync/internal/store"
)

// Main runs the tests of a package, stops the PostgreSQL server that they share, and fails
// on leaked goroutines.
func Main(m *testing.M) {
	code := m.Run()
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "testkit:", err)
		code = 1
	}
	if code == 0 {
		// A NATS server that stops during an atomic batch does not close the store of the
		// batch.
		if err := goleak.Find(
			goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*msgBlock).flushLoop"),
			goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
			goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"),
		); err != nil {
			fmt.Fprintln(os.Stderr, "testkit:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// shared is the server of this test process, started on first use. It has a migrated
// database that the tests' databases are copied from.
var shared cluster

type cluster struct {
	start  sync.Once
	server *postgres.Server
	dir    string
	err    error
	count  atomic.Int64
	copy   sync.Mutex // PostgreSQL copies a template for one session at a time

	startRLS sync.Once // of the second template
	errRLS   error
}

// The templates: with the tables, and with row-level security on them.
const (
	template    = "clerksync_template"
	templateRLS = "clerksync_template_rls"
)

func (p *cluster) run() {
	// Only root can read a temporary folder of root, and PostgreSQL does not run as root.
	p.dir, p.err = os.MkdirTemp("", "clerksync-test-")
	if p.err != nil {
		return
	}
	if p.err = os.Chmod(p.dir, 0o755); p.err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p.server, p.err = postgres.Start(ctx, postgres.Options{
		Dir:     filepath.Join(p.dir, "postgres"),
		BinDir:  os.Getenv("CLERKSYNC_PG_BIN"),
		Unsafe:  true,
		Install: true,
	})
	if p.err != nil {
		return
	}
	p.err = p.makeTemplate(ctx, template)
}

func (p *cluster) makeTemplate(ctx context.Context, name string, with ...string) error {
	if err := p.exec(ctx, "CREATE DATABASE "+name); err != nil {
		return err
	}
	s, err := store.Open(ctx, store.Options{URL: p.server.URL(name), Schema: "clerk"})
	if err != nil {
		return err
	}
	defer s.Close()
	_, err = s.Migrate(ctx, with...)
	return err
}

func (p *cluster) exec(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, p.server.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}

func (p *cluster) stop() error {
	var err error
	if p.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		err = p.server.Stop(ctx)
	}
	if p.dir != "" {
		if e := os.RemoveAll(p.dir); err == nil {
			err = e
		}
	}
	return err
}

// DatabaseURL makes a migrated database for one test and returns its URL.
func DatabaseURL(t testing.TB) string { return newDatabase(t, " TEMPLATE "+template) }

// RLSDatabaseURL makes a database with row-level security for one test and returns its
// URL: that of a superuser, whom no policy binds.
func RLSDatabaseURL(t testing.TB) string {
	t.Helper()
	shared.start.Do(shared.run)
	if shared.err == nil {
		shared.startRLS.Do(func() { shared.errRLS = shared.makeTemplate(t.Context(), templateRLS, store.RLS) })
		if shared.errRLS != nil {
			t.Fatalf("make a database with row-level security: %v", shared.errRLS)
		}
	}
	return newDatabase(t, " TEMPLATE "+templateRLS)
}

// EmptyDatabaseURL makes an empty database for one test and returns its URL.
func EmptyDatabaseURL(t testing.TB) string { return newDatabase(t, "") }

func newDatabase(t testing.TB, clause string) string {
	t.Helper()
	shared.start.Do(shared.run)
	if shared.err != nil {
		t.Fatalf("start PostgreSQL for the tests: %v", shared.err)
	}
	name := fmt.Sprintf("test_%d", shared.count.Add(1))
	shared.copy.Lock()
	defer shared.copy.Unlock()
	if err := shared.exec(t.Context(), "CREATE DATABASE "+name+clause); err != nil {
		t.Fatalf("make a database for the test: %v", err)
	}
	t.Cleanup(func() {
		if err := shared.exec(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return shared.server.URL(name)
}

// Store opens a store on a database for one test.
func Store(t testing.TB) *store.Store {
	t.Helper()
	return OpenStore(t, DatabaseURL(t))
}

// OpenStore opens a store on a database.
func OpenStore(t testing.TB, url string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: url, Schema: "clerk", MaxConns: 8})
	if err != nil {
		t.Fatalf("open the store: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}
