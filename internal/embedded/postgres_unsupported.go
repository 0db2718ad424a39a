//go:build !linux && !darwin

package embedded

import (
	"context"
	"fmt"
	"runtime"
)

// serverLog exists where PostgreSQL can be embedded.
type serverLog struct{}

func (*serverLog) tail() string { return "" }

func startPostgres(context.Context, PostgresOptions, func() (int, error)) (*Postgres, error) {
	return nil, fmt.Errorf("embedding PostgreSQL is not supported on %s: run a server and set DATABASE_URL", runtime.GOOS)
}
