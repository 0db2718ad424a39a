//go:build !linux && !darwin

package postgres

import (
	"context"
	"fmt"
	"runtime"
)

// serverLog is empty where PostgreSQL cannot be embedded.
type serverLog struct{}

func (*serverLog) tail() string { return "" }

func startServer(context.Context, Options, func() (int, error)) (*Server, error) {
	return nil, fmt.Errorf("embedding PostgreSQL is not supported on %s: run a server and set DATABASE_URL", runtime.GOOS)
}
