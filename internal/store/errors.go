package store

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// ErrRefused means that PostgreSQL refuses the content of an event: to try again
// would not help. Every other error of [Store.Apply] is worth another try.
var ErrRefused = errors.New("refused")

// wrap makes PostgreSQL's errors this package's. The texts of errors about
// content quote the content, so only the code and the constraint's name are kept
// of them.
func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if !refused(pg) {
		return &serverError{doing, pg.Message, pg.Code}
	}
	where := ""
	if pg.ConstraintName != "" {
		where = " by constraint " + pg.ConstraintName
	}
	return fmt.Errorf("%s: %w by PostgreSQL with SQLSTATE %s%s", doing, ErrRefused, pg.Code, where)
}

// serverError is an error of PostgreSQL's that is not about content. Its detail and its
// hint are left out: they may quote some.
type serverError struct {
	doing, message, code string
}

func (e *serverError) Error() string {
	return fmt.Sprintf("%s: %s (SQLSTATE %s)", e.doing, e.message, e.code)
}

// refused tells an error about content from one that passes.
func refused(pg *pgconn.PgError) bool {
	switch pg.Code {
	case "23505": // unique_violation: on our own index a race between two batches
		return pg.ConstraintName != "users_email_key"
	case "54001": // statement_too_complex: JSON nested deeper than the server's stack
		return true
	}
	switch pg.Code[:min(2, len(pg.Code))] {
	case "22", // data exception
		"23", // integrity constraint violation: of a constraint that someone added, or a row that someone removed
		"54": // program limit exceeded: a value too long for an index
		return true
	}
	return false
}
