package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/clerksync/clerksync/internal/store/db"
)

// OldestVersion is the oldest PostgreSQL that is supported.
const OldestVersion = 15

// Inspection describes the database server and the rights of the role.
type Inspection struct {
	*db.ServerGetRow
	SchemaExists bool
	Pooled       bool                          // behind a pooler
	ClockOff     time.Duration                 // how far its clock is ahead of ours
	Missing      []*db.PrivilegeMissingListRow // on tables that are there
}

// Inspect reads the settings of the server and the rights of the role.
func (s *Store) Inspect(ctx context.Context) (*Inspection, error) {
	if err := s.Ping(ctx); err != nil { // the time to connect would count as an offset of its clock
		return nil, err
	}
	asked := time.Now()
	server, err := s.q.ServerGet(ctx, s.pool)
	if err != nil {
		return nil, wrap("read server settings", err)
	}
	i := &Inspection{ServerGetRow: server, SchemaExists: server.Schema != "", Pooled: s.pool.behindPooler(), ClockOff: server.At.Sub(asked.Add(time.Since(asked) / 2))}
	if !i.SchemaExists {
		i.Schema = s.schema
	}
	if i.Missing, err = s.q.PrivilegeMissingList(ctx, s.pool, tableNames()); err != nil {
		return nil, wrap("read privileges", err)
	}
	return i, nil
}

// Fault is what keeps a worker from its work until somebody corrects it.
type Fault struct {
	Seen, Fix string
	outage    string // see [Outage]
}

func (f *Fault) Error() string { return f.Seen + "; " + f.Fix }

// ReadOnlyFault returns why the server takes no writes, nil when it does.
func (i *Inspection) ReadOnlyFault() *Fault {
	switch {
	case i.Standby:
		return &Fault{"DATABASE_URL leads to a standby, which is read-only", "name the primary in it, or all servers and target_session_attrs=read-write", "PostgreSQL is read-only"}
	case i.ReadOnly:
		return &Fault{"PostgreSQL is read-only for " + i.Role + ": default_transaction_read_only is on", "lift it, or name the primary in DATABASE_URL", "PostgreSQL is read-only"}
	}
	return nil
}

// PrivilegeFault returns the privileges that a worker needs and the role lacks, nil when
// it has them all.
func (i *Inspection) PrivilegeFault() *Fault {
	const outage = "PostgreSQL refuses access: a privilege is missing"
	if i.SchemaExists && !i.SchemaUsable {
		return &Fault{fmt.Sprintf("%s may not use schema %s", i.Role, i.Schema), fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s", i.Schema, i.Role), outage}
	}
	if len(i.Missing) == 0 {
		return nil
	}
	var missing []string
	for _, m := range i.Missing {
		missing = append(missing, m.Privilege+" on "+m.TableName)
	}
	grant := "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA " + i.Schema
	if first := i.Missing[0].TableName; !slices.Contains(tableNames(), first) { // only a list of migrations is left
		grant = "SELECT ON " + i.Schema + "." + first
	}
	return &Fault{i.Role + " lacks " + strings.Join(missing, ", "), fmt.Sprintf("GRANT %s TO %s", grant, i.Role), outage}
}
