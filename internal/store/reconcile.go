package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store/db"
)

// Live is an entity whose row is live. User and Org are the Clerk ids that a membership
// binds.
type Live struct {
	ID, User, Org string
}

// LiveAfter reads up to n rows of a kind whose Clerk id is after an id, in the order of
// their ids. It returns those that are live, and the last id, "" at the end. It leaves out
// what an operator restored, with its memberships.
func (s *Store) LiveAfter(ctx context.Context, kind clerk.Kind, after string, n int) (all []Live, last string, err error) {
	add := func(l Live, live bool) {
		last = l.ID
		if live {
			all = append(all, l)
		}
	}
	switch kind {
	case clerk.KindUser:
		var rows []*db.UserLiveListRow
		rows, err = s.q.UserLiveList(ctx, s.pool, &db.UserLiveListParams{After: after, MaxCount: int32(n)})
		for _, r := range rows {
			add(Live{ID: r.ClerkID}, r.Live)
		}
	case clerk.KindOrganization:
		var rows []*db.OrganizationLiveListRow
		rows, err = s.q.OrganizationLiveList(ctx, s.pool, &db.OrganizationLiveListParams{After: after, MaxCount: int32(n)})
		for _, r := range rows {
			add(Live{ID: r.ClerkID}, r.Live)
		}
	case clerk.KindMembership:
		var rows []*db.MembershipLiveListRow
		rows, err = s.q.MembershipLiveList(ctx, s.pool, &db.MembershipLiveListParams{After: after, MaxCount: int32(n)})
		for _, r := range rows {
			add(Live{r.ClerkID, r.UserID, r.OrgID}, r.Live)
		}
	}
	return all, last, wrap("list live rows", err)
}

// HeadsOfIDs returns the heads of entities by Clerk id. Their kinds follow from the ids. It
// leaves out those that are not known.
func (s *Store) HeadsOfIDs(ctx context.Context, ids []string) (map[string]*db.EntityHead, error) {
	p := &db.HeadGetManyParams{}
	for _, id := range ids {
		if kind, ok := clerk.KindOfID(id); ok {
			p.Kind, p.ClerkID = append(p.Kind, string(kind)), append(p.ClerkID, id)
		}
	}
	heads, err := s.q.HeadGetMany(ctx, s.pool, p)
	of := make(map[string]*db.EntityHead, len(heads))
	for _, h := range heads {
		of[h.ClerkID] = h
	}
	return of, wrap("read heads", err)
}

// ReconcileLock tells the one process that reconciles on a schedule from the others.
type ReconcileLock struct {
	s    *Store
	conn *pgx.Conn // holds the lock and does nothing else; nil when it is not held
}

// ReconcileLock returns the lock, not yet taken. It is not safe for concurrent use.
func (s *Store) ReconcileLock() *ReconcileLock { return &ReconcileLock{s: s} }

// Take returns whether this process has the lock now. It keeps it until Close, or until its
// session ends.
func (l *ReconcileLock) Take(ctx context.Context) (bool, error) {
	const doing = "lock the reconcile"
	if l.conn != nil {
		if l.conn.Ping(ctx) == nil {
			return true, nil
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
		_ = l.Close() // the session is gone, and the lock with it
	}
	conn, err := l.s.pool.session(ctx)
	if err != nil {
		return false, wrap(doing, err)
	}
	locked, err := l.s.q.ReconcileLock(ctx, conn, l.s.schema)
	if err != nil || !locked {
		return false, wrap(doing, errors.Join(err, conn.Close(context.WithoutCancel(ctx))))
	}
	l.conn = conn
	return true, nil
}

// Close gives the lock back.
func (l *ReconcileLock) Close() error {
	if l.conn == nil {
		return nil
	}
	conn := l.conn
	l.conn = nil
	return l.s.endSession(conn)
}
