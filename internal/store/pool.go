package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// pool is a pool of connections to PostgreSQL, or to a pooler that gives a server session to
// one transaction after the other, as PgBouncer in transaction mode. It finds out which, and
// has the same settings hold for every statement: directly they are the session's, behind a
// pooler each transaction's, sent with its first statement. No prepared statement outlives a
// transaction there either.
type pool struct {
	*pgxpool.Pool
	*sessions
}

// sessions is how the connections of a pool are set up.
type sessions struct {
	names, values []string // of the settings
	local         []string // names of those of a transaction
	server        atomic.Int32
}

// What is at the other end of the connections.
const (
	unknown int32 = iota // nothing was reached yet
	direct               // a session of PostgreSQL
	proxied              // the same, through something that changes the process id or the port
	pooled               // another session for each transaction
)

// newPool makes a pool whose connections have the given settings.
func newPool(ctx context.Context, config *pgxpool.Config, settings map[string]string) (*pool, error) {
	s := &sessions{names: slices.Sorted(maps.Keys(settings))}
	for _, name := range s.names {
		s.values = append(s.values, settings[name])
		s.local = append(s.local, strings.TrimPrefix(name, "default_")) // as default_transaction_read_only
	}
	config.BeforeConnect, config.AfterConnect, config.PrepareConn = s.beforeConnect, s.afterConnect, s.prepareConn
	config.ConnConfig.OnPgError = keepsConnection
	p, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return &pool{p, s}, nil
}

// settings returns the settings of the connections.
func (s *sessions) settings() map[string]string {
	all := make(map[string]string, len(s.names))
	for i, name := range s.names {
		all[name] = s.values[i]
	}
	return all
}

func (s *sessions) behindPooler() bool { return s.server.Load() == pooled }

func (s *sessions) beforeConnect(_ context.Context, c *pgx.ConnConfig) error {
	if s.behindPooler() {
		c.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	return nil
}

// afterConnect gives a session its settings, in one round trip. A pooler is told by the id
// of the process, and by our port: those of the session which the statement comes to are not
// the ones that the pooler made up when it greeted us, and that we connected from.
func (s *sessions) afterConnect(ctx context.Context, conn *pgx.Conn) error {
	registerArrays(conn)
	conn.TypeMap().RegisterDefaultPgType(uuid.UUID{}, "uuid")
	conn.TypeMap().RegisterDefaultPgType([]uuid.UUID{}, "_uuid")
	set, err := s.set(ctx, conn)
	if err != nil || set || s.behindPooler() {
		return err
	}
	kept, err := keepsSession(ctx, conn.Config())
	switch {
	case err != nil:
		return err
	case !kept:
		s.server.Store(pooled)
		return nil
	}
	s.server.Store(proxied)
	_, err = s.set(ctx, conn)
	return err
}

// set gives a session its settings, unless it is a pooler's, and reports whether it did.
func (s *sessions) set(ctx context.Context, conn *pgx.Conn) (bool, error) {
	port := 0 // of a Unix socket
	if addr, ok := conn.PgConn().Conn().LocalAddr().(*net.TCPAddr); ok {
		port = addr.Port
	}
	tag, err := conn.Exec(ctx, `SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS s (name, value)
		WHERE $3::boolean OR pg_backend_pid() = $4::bigint AND coalesce(inet_client_port(), 0) = $5::bigint`,
		pgx.QueryExecModeExec, s.names, s.values, s.server.Load() == proxied, int64(conn.PgConn().PID()), port)
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		err = &serverError{"set up the connection", pg.Message, pg.Code}
	}
	set := tag.RowsAffected() > 0
	if set {
		s.server.CompareAndSwap(unknown, direct)
	}
	return set, err
}

// marker is a setting that only PostgreSQL itself keeps for a session: PgBouncer refuses it,
// and others drop it.
const marker = "clerksync.session"

// keepsSession reports whether what is between is a mere proxy, which gives each connection a
// session of its own.
func keepsSession(ctx context.Context, config *pgx.ConnConfig) (kept bool, err error) {
	config.RuntimeParams[marker] = "kept"
	conn, err := pgx.ConnectConfig(ctx, config)
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == pgerrcode.ProtocolViolation {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer conn.Close(ctx)
	err = conn.QueryRow(ctx, "SELECT coalesce(current_setting('"+marker+"', true) = 'kept', false)", pgx.QueryExecModeExec).Scan(&kept)
	return kept, err
}

// prepareConn replaces a connection that was made before the pooler was noticed.
func (s *sessions) prepareConn(_ context.Context, conn *pgx.Conn) (bool, error) {
	return !s.behindPooler() || conn.Config().DefaultQueryExecMode == pgx.QueryExecModeExec, nil
}

// keepsConnection reports whether a connection is of use after an error. A server that was
// demoted keeps its sessions, and refuses all writes: the next connection finds the new one.
func keepsConnection(_ *pgconn.PgConn, err *pgconn.PgError) bool {
	return err.Severity != "FATAL" && err.Code != pgerrcode.ReadOnlySQLTransaction
}

const localSettings = "SELECT set_config(name, value, true) FROM unnest($1::text[], $2::text[]) AS s (name, value)"

// begin queues what begins a transaction on a connection of the pool, and returns how many
// results that has.
func (p *pool) begin(b *pgx.Batch) int {
	b.Queue("begin")
	if p.behindPooler() {
		b.Queue(localSettings, p.local, p.values)
	}
	return b.Len()
}

// pipeline returns the handle of one query.
func (p *pool) pipeline(ctx context.Context) (*pipeline, error) {
	if p.server.Load() == unknown {
		if err := p.Ping(ctx); err != nil {
			return nil, err
		}
	}
	one := &pipeline{pool: p.Pool}
	if p.behindPooler() {
		one.batch.Queue(localSettings, p.local, p.values)
	}
	return one, nil
}

// Exec implements [db.DBTX].
func (p *pool) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	one, err := p.pipeline(ctx)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	rows, err := one.Query(ctx, sql, args...)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	rows.Close()
	return rows.CommandTag(), rows.Err()
}

// Query implements [db.DBTX]. With an error there are no rows.
func (p *pool) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	one, err := p.pipeline(ctx)
	if err != nil {
		return nil, err
	}
	return one.Query(ctx, sql, args...)
}

// QueryRow implements [db.DBTX].
func (p *pool) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	one, err := p.pipeline(ctx)
	if err != nil {
		return &pipelineRow{err: err}
	}
	return one.QueryRow(ctx, sql, args...)
}

// Begin is BeginTx without options.
func (p *pool) Begin(ctx context.Context) (pgx.Tx, error) { return p.BeginTx(ctx, pgx.TxOptions{}) }

// BeginTx begins a transaction.
func (p *pool) BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error) {
	tx, err := p.Pool.BeginTx(ctx, o)
	if err != nil || !p.behindPooler() {
		return tx, err
	}
	if _, err := tx.Exec(ctx, localSettings, p.local, p.values); err != nil {
		return nil, errors.Join(err, tx.Rollback(context.WithoutCancel(ctx)))
	}
	return tx, nil
}

// session takes a connection out of the pool, for a lock that is held longer than a
// transaction. Behind a pooler a transaction that stays open keeps the server's session; it
// holds no snapshot, so that it does not hold back VACUUM.
func (p *pool) session(ctx context.Context) (*pgx.Conn, error) {
	acquired, err := p.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	conn := acquired.Hijack()
	if p.behindPooler() {
		var b pgx.Batch
		p.begin(&b)
		b.Queue("SET LOCAL idle_in_transaction_session_timeout = 0")
		if err := conn.SendBatch(ctx, &b).Close(); err != nil {
			return nil, errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
		}
	}
	return conn, nil
}

// ErrPooler means that PostgreSQL is behind a pooler, which keeps no session.
var ErrPooler = errors.New("DATABASE_URL leads to a pooler, and this needs a session: name PostgreSQL's own address for it (of Supabase's, port 5432 in place of 6543)")

// needSession returns [ErrPooler] behind a pooler.
func (p *pool) needSession(ctx context.Context) error {
	if err := p.Ping(ctx); err != nil || !p.behindPooler() {
		return err
	}
	return ErrPooler
}
