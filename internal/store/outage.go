package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
)

// Outage returns in fixed words why PostgreSQL cannot be used. The text of an error can
// contain an address or the name of a role, and this is shown on pages.
func Outage(err error) string {
	var refusal *serverError
	var pg *pgconn.PgError
	var timeout net.Error
	switch {
	case errors.As(err, &refusal):
		return outageOf(refusal.code)
	case errors.As(err, &pg):
		return outageOf(pg.Code)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist): // the latter: there is no socket
		return "PostgreSQL refuses connections"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "PostgreSQL does not answer in time"
	}
	return "PostgreSQL cannot be reached"
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
