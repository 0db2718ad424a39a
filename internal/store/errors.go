package store

import (
	"errors"
	"fmt"

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
	if pg.Code == pgerrcode.UniqueViolation {
		return pg.ConstraintName != "users_email_key" // there it is a race between two batches
	}
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
