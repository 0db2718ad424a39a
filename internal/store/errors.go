package store

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrRefused means that PostgreSQL refuses the content of an event: a retry would not
// help. Every other error of [Store.Apply] is worth a retry.
var ErrRefused = errors.New("refused")

// wrap turns PostgreSQL's errors into this package's. Of an error about content it keeps
// only the code and the name of the constraint, since the text quotes the content.
func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	var pg *pgconn.PgError
	var connect *pgconn.ConnectError // never about content
	switch {
	case errors.As(err, &connect) || !errors.As(err, &pg):
		return &lineError{doing, err}
	case collides(err): // again and again: a trigger changes addresses, or row-level security hides the row
		return fmt.Errorf("%s: %w: the address is taken in users.email by a row that clerksync does not find", doing, ErrRefused)
	case !refused(pg):
		return &serverError{doing, pg.Message, pg.Code}
	}
	where := ""
	if pg.ConstraintName != "" {
		where = " by constraint " + pg.ConstraintName
	}
	return fmt.Errorf("%s: %w by PostgreSQL with SQLSTATE %s%s", doing, ErrRefused, pg.Code, where)
}

// collides reports whether an address was taken.
func collides(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == pgerrcode.UniqueViolation && pg.ConstraintName == "users_email_key"
}

// deadlocked reports whether PostgreSQL ended the transaction to end a deadlock.
func deadlocked(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == pgerrcode.DeadlockDetected
}

// lineError writes an error in one line. pgx's has a line for each address that it tried.
type lineError struct {
	doing string
	err   error
}

func (e *lineError) Error() string {
	return e.doing + ": " + strings.Join(strings.Fields(e.err.Error()), " ")
}

func (e *lineError) Unwrap() error { return e.err }

// serverError is an error of PostgreSQL that is not about content. Its detail and hint
// are left out: they may quote some.
type serverError struct {
	doing, message, code string
}

func (e *serverError) Error() string {
	return fmt.Sprintf("%s: %s (SQLSTATE %s)", e.doing, e.message, e.code)
}

// refused reports whether an error is about content, and not temporary.
func refused(pg *pgconn.PgError) bool {
	switch class(pg.Code) {
	case class(pgerrcode.DataException),
		class(pgerrcode.IntegrityConstraintViolation), // of a constraint that an operator added, or a row that one removed
		class(pgerrcode.ProgramLimitExceeded):         // a value too long for an index, JSON nested deeper than the server's stack
		return true
	}
	return false
}

// class returns the class of an SQLSTATE. pgerrcode's own functions know only the codes
// that were there when it was made.
func class(code string) string { return code[:min(2, len(code))] }
