package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/clerksync/clerksync/internal/units"
)

// Outage returns in fixed words why PostgreSQL cannot be used. The text of an error can
// contain an address or the name of a role, and this is shown on pages.
func Outage(err error) string {
	var pending *pendingError
	var refusal *serverError
	var pg *pgconn.PgError
	var timeout net.Error
	var fault *Fault
	switch {
	case errors.As(err, &fault):
		return fault.outage
	case errors.As(err, &pending):
		return units.Count(pending.pending, "migration is pending", "migrations are pending")
	case errors.Is(err, ErrPending):
		return "migrations are pending"
	case errors.Is(err, ErrNewer):
		return ErrNewer.Error()
	case errors.As(err, &refusal):
		return outageOf(refusal.code)
	case errors.As(err, &pg):
		return outageOf(pg.Code)
	case unverified(err), refusesTLS(err), refusesCertificate(err):
		return "PostgreSQL cannot be reached over TLS"
	case errors.Is(err, pgconn.ErrReadOnlyConnection), errors.Is(err, pgconn.ErrStandbyConnection):
		return "PostgreSQL has no primary among the servers of DATABASE_URL"
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist): // the latter: there is no socket
		return "PostgreSQL refuses connections"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "PostgreSQL does not answer in time"
	}
	return "PostgreSQL cannot be reached"
}

// Permanent reports whether PostgreSQL cannot be used until somebody changes the
// configuration, its own or clerksync's. Everything else may end by itself.
func Permanent(err error) bool {
	var refusal *serverError
	var connect *pgconn.ConnectError
	var fault *Fault
	switch {
	case errors.As(err, &fault), errors.Is(err, ErrPending), errors.Is(err, ErrNewer), errors.Is(err, ErrPooler):
		return true
	case errors.As(err, &refusal):
		return permanent(refusal.code)
	case errors.As(err, &connect):
		return permanentConnect(connect)
	}
	return false
}

// permanentConnect judges all attempts of a connection: every address of every host, with
// and without TLS. A refusal counts only when no other attempt may succeed later: without
// TLS a server may say that pg_hba.conf has no entry, while with TLS it is starting or has
// no connection left.
func permanentConnect(connect *pgconn.ConnectError) bool {
	refused := false
	for _, attempt := range attempts(connect.Unwrap()) {
		var pg *pgconn.PgError
		var network net.Error
		switch {
		case errors.As(attempt, &pg):
			if !permanent(pg.Code) {
				return false
			}
			refused = true
		case unverified(attempt), refusesTLS(attempt):
			refused = true
		case errors.Is(attempt, syscall.ECONNREFUSED) && oneHost(connect.Config):
			// The server does not listen on this one of the host's addresses, as on ::1 of
			// localhost.
		case errors.As(attempt, &network), errors.Is(attempt, io.EOF), errors.Is(attempt, io.ErrUnexpectedEOF),
			errors.Is(attempt, context.Canceled):
			return false
		}
	}
	return refused
}

// attempts returns the errors that were joined.
func attempts(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

func oneHost(c *pgconn.Config) bool {
	return !slices.ContainsFunc(c.Fallbacks, func(f *pgconn.FallbackConfig) bool { return f.Host != c.Host || f.Port != c.Port })
}

// permanent reports whether an SQLSTATE stays until somebody changes the configuration.
// The second is that of a role that does not exist or may not log in, and of pg_hba.conf.
func permanent(code string) bool {
	switch code {
	case pgerrcode.InvalidPassword, pgerrcode.InvalidAuthorizationSpecification,
		pgerrcode.InvalidCatalogName, pgerrcode.InsufficientPrivilege:
		return true
	}
	return false
}

// outageOf explains an SQLSTATE.
func outageOf(code string) string {
	switch code {
	case pgerrcode.InvalidPassword, pgerrcode.InvalidAuthorizationSpecification:
		return "PostgreSQL does not let clerksync in: role or password"
	case pgerrcode.InvalidCatalogName:
		return "the database does not exist"
	case pgerrcode.InsufficientPrivilege:
		return "PostgreSQL refuses access: a privilege is missing"
	case pgerrcode.UndefinedTable, pgerrcode.UndefinedColumn, pgerrcode.InvalidSchemaName:
		return "a table or a column is missing"
	case pgerrcode.ReadOnlySQLTransaction:
		return "PostgreSQL is read-only"
	case pgerrcode.DiskFull:
		return "PostgreSQL's disk is full"
	case pgerrcode.TooManyConnections:
		return "PostgreSQL has no connection left"
	case pgerrcode.AdminShutdown, pgerrcode.CrashShutdown:
		return "PostgreSQL is stopping"
	case pgerrcode.CannotConnectNow:
		return "PostgreSQL is starting or recovering"
	case pgerrcode.QueryCanceled:
		return "PostgreSQL takes longer than the time limit of a statement"
	case pgerrcode.SerializationFailure, pgerrcode.DeadlockDetected, pgerrcode.LockNotAvailable:
		return "PostgreSQL has locks in the way"
	}
	return fmt.Sprintf("PostgreSQL answers with SQLSTATE %s", code)
}
