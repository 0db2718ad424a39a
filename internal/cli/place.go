package cli

import (
	"errors"
	"fmt"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/store"
)

// What the commands need to find their way. A command embeds what it uses.

// place is where a command is: beside which clerksync, and before whom.
type place struct {
	DataDir string `name:"data-dir" env:"CLERKSYNC_DATA_DIR" default:"${data_dir}" type:"path" help:"Data folder of the clerksync running here, which is used when nothing else is named."`
	JSON    bool   `name:"json" help:"Print JSON."`
}

// database is what a command needs to reach the tables.
type database struct {
	config.Database `embed:""`
}

// openStore opens the database that was named, or that of the clerksync running here.
func (d *database) openStore(s *session, p *place) (*store.Store, error) {
	o := store.Options{URL: d.URL.Reveal(), Schema: d.Schema, ApplicationName: "clerksync command", MaxConns: 16}
	if o.URL == "" {
		running, err := app.FindRunning(p.DataDir)
		if errors.Is(err, app.ErrNotRunning) {
			return nil, fmt.Errorf("no database: set DATABASE_URL, or start clerksync dev (%s)", notRunning(err))
		}
		if err != nil {
			return nil, err
		}
		o.URL, o.Schema = running.DatabaseURL, running.Schema
	}
	st, err := store.Open(s.ctx, o)
	if err != nil {
		return nil, err
	}
	if err := st.Ping(s.ctx); err != nil {
		st.Close()
		return nil, fmt.Errorf("%w; is DATABASE_URL right, and is the server running?", err)
	}
	return st, nil
}
