package store_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// refusing starts a server that answers every connection with an SQLSTATE, and one with TLS
// with another; "" is no answer, "no TLS" the answer of a server without it.
func refusing(t *testing.T, withTLS, without string) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	secure := httptest.NewTLSServer(nil)
	certificates := secure.TLS.Certificates
	secure.Close()
	done := make(chan struct{})
	t.Cleanup(func() { listener.Close(); <-done })
	answer := func(conn net.Conn) {
		defer conn.Close()
		backend := pgproto3.NewBackend(conn, conn)
		first, err := backend.ReceiveStartupMessage()
		if err != nil {
			return
		}
		code := without
		if _, ok := first.(*pgproto3.SSLRequest); ok {
			if code = withTLS; code == "no TLS" {
				_, _ = conn.Write([]byte("N"))
				return
			}
			_, _ = conn.Write([]byte("S"))
			conn = tls.Server(conn, &tls.Config{Certificates: certificates})
			backend = pgproto3.NewBackend(conn, conn)
			if _, err := backend.ReceiveStartupMessage(); err != nil {
				return
			}
		}
		if code != "" {
			backend.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: code, Message: "hidden"})
			_ = backend.Flush()
		}
	}
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			answer(conn)
		}
	}()
	return listener.Addr().String()
}

// TestPermanent: only what stays until somebody changes the configuration.
func TestPermanent(t *testing.T) {
	t.Parallel()
	const nothing = "127.0.0.1:1"
	for _, tt := range []struct {
		name            string
		hosts           []string
		options, outage string
		permanent       bool
	}{
		{"a wrong password", []string{refusing(t, "", "28P01")}, "sslmode=disable", "PostgreSQL does not let clerksync in: role or password", true},
		{"a wrong password, without TLS on the server", []string{refusing(t, "no TLS", "28P01")}, "sslmode=prefer", "PostgreSQL does not let clerksync in: role or password", true},
		{"no role, or no entry of pg_hba.conf", []string{refusing(t, "", "28000")}, "sslmode=disable", "PostgreSQL does not let clerksync in: role or password", true},
		{"no entry of pg_hba.conf either way", []string{refusing(t, "28000", "28000")}, "sslmode=prefer", "PostgreSQL does not let clerksync in: role or password", true},
		{"no database", []string{refusing(t, "", "3D000")}, "sslmode=disable", "the database does not exist", true},
		{"no right to connect", []string{refusing(t, "", "42501")}, "sslmode=disable", "PostgreSQL refuses access: a privilege is missing", true},

		{"no connection left with TLS, and no entry of pg_hba.conf without", []string{refusing(t, "53300", "28000")}, "sslmode=prefer", "PostgreSQL has no connection left", false},
		{"nothing listens", []string{nothing}, "sslmode=disable", "PostgreSQL refuses connections", false},
		{"starting", []string{refusing(t, "", "57P03")}, "sslmode=disable", "PostgreSQL is starting or recovering", false},
		{"no connection left", []string{refusing(t, "", "53300")}, "sslmode=disable", "PostgreSQL has no connection left", false},
		{"closed without an answer", []string{refusing(t, "", "")}, "sslmode=disable", "PostgreSQL cannot be reached", false},
		{"an unknown name", []string{"nowhere.invalid:5432"}, "sslmode=disable", "PostgreSQL cannot be reached", false},

		{"one of two hosts is away", []string{nothing, refusing(t, "", "28000")}, "sslmode=disable", "PostgreSQL does not let clerksync in: role or password", false},
		{"both hosts refuse", []string{refusing(t, "", "28000"), refusing(t, "", "28000")}, "sslmode=disable", "PostgreSQL does not let clerksync in: role or password", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := testkit.OpenStore(t, "postgres://someone:hunter2@"+strings.Join(tt.hosts, ",")+"/db?"+tt.options)
			for doing, err := range map[string]error{
				"Ping": s.Ping(t.Context()), "CheckMigrated": s.CheckMigrated(t.Context()), "Apply": applied(s),
			} {
				require.Error(t, err)
				require.Equal(t, tt.permanent, store.Permanent(err), "%s: %v", doing, err)
				require.Equal(t, tt.outage, store.Outage(err), "%s: %v", doing, err)
				require.NotErrorIs(t, err, store.ErrRefused)
			}
		})
	}
	require.False(t, store.Permanent(nil))
	require.False(t, store.Permanent(context.DeadlineExceeded))
	require.True(t, store.Permanent(fmt.Errorf("start: %w", store.ErrPending)))
	require.True(t, store.Permanent(fmt.Errorf("start: %w", store.ErrNewer)))
}

func applied(s *store.Store) error {
	_, err := s.Apply(context.Background(), []store.Entry{entry(userAt(1, "user_1", addressA))})
	return err
}

// TestConnectionErrorsAreOneLine, though pgx tries several addresses: whatever needs the
// connection. They name the addresses and not the password.
func TestConnectionErrorsAreOneLine(t *testing.T) {
	t.Parallel()
	const url = "postgres://someone:hunter2@127.0.0.1:1,127.0.0.1:2/db"
	s := testkit.OpenStore(t, url)
	_, migrate := s.Migrate(t.Context())
	_, migrations := s.Migrations(t.Context())
	_, inspect := s.Inspect(t.Context())
	_, _, scratch := s.CreateScratch(t.Context())
	_, _, plan := s.Plan(t.Context(), []store.Entry{entry(userAt(1, "user_1", addressA))}, false)
	_, show := s.Show(t.Context(), "user", "user_1")
	for doing, err := range map[string]error{
		"Ping": s.Ping(t.Context()), "CheckMigrated": s.CheckMigrated(t.Context()), "Migrate": migrate, "Migrations": migrations, "Apply": applied(s),
		"Inspect": inspect, "CreateScratch": scratch, "Plan": plan, "Show": show, "CreateDatabase": store.CreateDatabase(t.Context(), url, "other"),
	} {
		require.Error(t, err, doing)
		require.NotContains(t, err.Error(), "\n", doing)
		require.NotContains(t, err.Error(), "\t", doing)
		require.NotContains(t, err.Error(), "hunter2", doing)
		require.Regexp(t, `^[a-zA-Z ]+: failed to connect to .user=someone database=db.: 127\.0\.0\.1:1 .*connection refused 127\.0\.0\.1:2 .*connection refused$`, err.Error(), doing)
		require.Equal(t, "PostgreSQL refuses connections", store.Outage(err), doing)
	}
}

// TestParameterThatPostgreSQLRefuses is an error of the connection, and of no event.
func TestParameterThatPostgreSQLRefuses(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(testkit.DatabaseURL(t))
	require.NoError(t, err)
	q := u.Query()
	q.Set("statement_timeout", "soon")
	u.RawQuery = q.Encode()
	err = applied(testkit.OpenStore(t, u.String()))
	require.ErrorContains(t, err, "SQLSTATE 22023")
	require.False(t, errors.Is(err, store.ErrRefused), err)
}

// TestDemotedServer: a server that became read-only keeps its sessions. Each is given up
// with its first refusal, so that the next connection looks for the primary.
func TestDemotedServer(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	var demoted []*pgxpool.Conn
	for range 3 {
		conn, err := s.Pool().Acquire(t.Context())
		require.NoError(t, err)
		_, err = conn.Exec(t.Context(), "SET default_transaction_read_only = on")
		require.NoError(t, err)
		demoted = append(demoted, conn)
	}
	for _, conn := range demoted {
		conn.Release()
	}
	for range 3 {
		err := applied(s)
		require.ErrorContains(t, err, "SQLSTATE 25006")
		require.Equal(t, "PostgreSQL is read-only", store.Outage(err))
		require.False(t, store.Permanent(err))
		require.NotErrorIs(t, err, store.ErrRefused)
	}
	require.NoError(t, applied(s))
}
