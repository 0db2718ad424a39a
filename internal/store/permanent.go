package store

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// Permanent reports whether an error needs somebody who corrects the configuration.
func Permanent(err error) bool {
	var pg *pgconn.PgError
	return errors.Is(err, ErrPending) || errors.As(err, &pg) && (pg.Code == "28P01" || pg.Code == "28000" || pg.Code == "3D000")
}
