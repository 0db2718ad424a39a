package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store/db"
)

// found is what stands in the tables about a batch. Until the transaction ends, only this
// batch changes it, but for claimants that are not locked yet.
type found struct {
	heads     map[key]head
	seats     map[seat]occupant
	claimants []claimant // that matter to the addresses of the batch
}

// head is a stored head.
type head struct {
	version    clerk.Version
	seq        uint64
	restoredAt *time.Time
	erased     bool // an erasure of the person has begun, or is done
	inserted   bool // by this transaction, with the best candidate of the batch
}

// lock begins the transaction of a batch and reads what stands in the tables.
func (s *Store) lock(ctx context.Context, conn *pgxpool.Conn, b *batch) (*found, error) {
	p := new(roundTrip)
	begins := s.pool.begin(&p.queued)
	inserted := s.q.HeadInsertMany(ctx, p, only(b.inserts()))
	lock := &db.HeadLockManyParams{}
	for _, k := range b.locks() {
		lock.Kind, lock.ClerkID, lock.Shared = append(lock.Kind, string(k.kind)), append(lock.ClerkID, k.id), append(lock.Shared, b.shares(k))
	}
	locked := s.q.HeadLockMany(ctx, p, only(lock))
	var seats *db.SeatGetManyBatchResults
	if len(b.seats) > 0 {
		get := &db.SeatGetManyParams{}
		for at := range b.seats {
			get.UserID, get.OrgID = append(get.UserID, at.user), append(get.OrgID, at.org)
		}
		seats = s.q.SeatGetMany(ctx, p, only(get))
	}
	var claimants *db.UserEmailFindManyBatchResults
	if ids, addresses := b.users(); len(ids) > 0 {
		claimants = s.q.UserEmailFindMany(ctx, p, only(&db.UserEmailFindManyParams{ClerkID: ids, Address: addresses}))
	}

	p.send(ctx, conn)
	var err error
	for range begins {
		if _, e := p.results.Exec(); err == nil {
			err = e
		}
	}
	f := &found{heads: make(map[key]head, len(lock.Kind)), seats: make(map[seat]occupant, len(b.seats))}
	var own []*db.HeadInsertManyRow
	inserted.Query(collect(&own, &err))
	var heads []*db.HeadLockManyRow
	locked.Query(collect(&heads, &err))
	for _, h := range heads {
		f.heads[key{clerk.Kind(h.Kind), h.ClerkID}] = head{
			version: clerk.Version{Deleted: h.Deleted, UpdatedAt: h.UpdatedAt.UnixMilli(), EventAt: h.EventAt.UnixMilli(), EventID: h.EventID},
			seq:     uint64(h.EventSeq), restoredAt: h.RestoredAt, erased: h.Erased,
		}
	}
	for _, h := range own {
		k := key{clerk.Kind(h.Kind), h.ClerkID}
		head := f.heads[k]
		head.inserted = true
		f.heads[k] = head
	}
	if seats != nil {
		var rows []*db.Seat
		seats.Query(collect(&rows, &err))
		for _, r := range rows {
			f.seats[seat{r.UserID, r.OrgID}] = occupant{r.MembershipID, r.MembershipCreatedAt.UnixMilli()}
		}
	}
	if claimants != nil {
		var rows []*db.UserEmailFindManyRow
		claimants.Query(collect(&rows, &err))
		for _, r := range rows {
			f.claimants = append(f.claimants, claimant{id: r.ClerkID, holds: r.Email, ranked: r.Ranked, claim: claim{r.PrimaryEmail, clerk.Version{
				Deleted: r.Deleted, UpdatedAt: r.UpdatedAt.UnixMilli(), EventAt: r.EventAt.UnixMilli(), EventID: r.EventID,
			}}})
		}
	}
	if closed := p.close(); err == nil {
		err = closed
	}
	return f, err
}

// inserts returns the heads that are inserted when they are missing: then the best
// candidate wins.
func (b *batch) inserts() *db.HeadInsertManyParams {
	p := &db.HeadInsertManyParams{}
	for _, k := range b.keys {
		w, _ := b.winner(k, head{inserted: true})
		p.Kind = append(p.Kind, string(k.kind))
		p.ClerkID = append(p.ClerkID, k.id)
		p.Deleted = append(p.Deleted, w.version.Deleted)
		p.UpdatedAt = append(p.UpdatedAt, time.UnixMilli(w.version.UpdatedAt))
		p.EventAt = append(p.EventAt, time.UnixMilli(w.version.EventAt))
		p.EventID = append(p.EventID, w.version.EventID)
		p.EventSeq = append(p.EventSeq, int64(w.seq))
	}
	return p
}
