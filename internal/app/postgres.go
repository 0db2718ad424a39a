package app

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/clerksync/clerksync/internal/embedded/postgres"
	"github.com/clerksync/clerksync/internal/store"
)

// devDatabase is the database of the embedded PostgreSQL.
const devDatabase = "clerksync"

// StartPostgres starts the embedded PostgreSQL of a data folder, creates the database, and
// returns its URL.
func StartPostgres(ctx context.Context, d *DataDir, binDir string, logger *slog.Logger) (*postgres.Server, string, error) {
	o := postgres.Options{Dir: d.file("postgres"), BinDir: binDir, Port: d.lastPort(), Install: true, Log: logger}
	pg, err := postgres.Start(ctx, o)
	if errors.Is(err, postgres.ErrUnreachable) && os.Geteuid() == 0 {
		// Root's home is closed to the user that has to run the server.
		folder, keepErr := d.Keep(postgresFile, func() (string, error) {
			token, err := randomToken()
			return filepath.Join("/var/lib/clerksync", token, "postgres"), err
		})
		if keepErr != nil {
			return nil, "", keepErr
		}
		o.Dir = folder
		logger.Info("PostgreSQL does not run as root, and its user cannot enter the data folder: its data is elsewhere", "folder", o.Dir)
		pg, err = postgres.Start(ctx, o)
	}
	if err != nil {
		return nil, "", err
	}
	err = store.CreateDatabase(ctx, pg.URL("postgres"), devDatabase)
	if err == nil && pg.Port() != o.Port {
		err = writePrivate(d.file(portFile), []byte(strconv.Itoa(pg.Port())))
	}
	if err != nil {
		stopCtx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		return nil, "", errors.Join(err, pg.Stop(stopCtx))
	}
	return pg, pg.URL(devDatabase), nil
}

// postgresFile names the folder of the cluster when it cannot be in the data folder. The
// name is random, so that a new data folder gets a new cluster.
const postgresFile = "postgres-folder"

// portFile keeps the port of the embedded PostgreSQL, so that its URL stays the same as
// long as the port is free.
const portFile = "postgres-port"

// lastPort returns the port of the last start, 0 when there was none.
func (d *DataDir) lastPort() int {
	text, err := os.ReadFile(d.file(portFile))
	if err != nil {
		return 0
	}
	port, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 16)
	if err != nil {
		return 0
	}
	return int(port)
}
