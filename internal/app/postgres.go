package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"

	"github.com/clerksync/clerksync/internal/embedded"
)

// devDatabase is the database of the embedded PostgreSQL.
const devDatabase = "clerksync"

// StartPostgres starts the embedded PostgreSQL of a data folder, with a database
// in it, and returns its URL.
func StartPostgres(ctx context.Context, d *DataDir, binDir string, logger *slog.Logger) (*embedded.Postgres, string, error) {
	o := embedded.PostgresOptions{Dir: d.file("postgres"), BinDir: binDir, Install: true, Log: logger}
	pg, err := embedded.StartPostgres(ctx, o)
	if errors.Is(err, embedded.ErrUnreachable) && os.Geteuid() == 0 {
		// Root's own folder is closed to the user who has to run the server.
		hash := sha256.Sum256([]byte(d.path))
		o.Dir = filepath.Join("/var/lib/clerksync", hex.EncodeToString(hash[:6]), "postgres")
		logger.Info("PostgreSQL does not run as root, and its user cannot enter the data folder: its data is elsewhere", "folder", o.Dir)
		pg, err = embedded.StartPostgres(ctx, o)
	}
	if err != nil {
		return nil, "", err
	}
	if err := createDatabase(ctx, pg.URL("postgres")); err != nil {
		stopCtx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		return nil, "", errors.Join(err, pg.Stop(stopCtx))
	}
	return pg, pg.URL(devDatabase), nil
}

func createDatabase(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect to the embedded PostgreSQL: %w", err)
	}
	defer conn.Close(ctx)
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", devDatabase).Scan(&exists); err != nil {
		return fmt.Errorf("look for the database: %w", err)
	}
	if exists {
		return nil
	}
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+devDatabase); err != nil {
		return fmt.Errorf("make the database: %w", err)
	}
	return nil
}
