package store_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// together applies each batch in its own goroutine, all concurrently, and none may
// fail.
func together(t *testing.T, s *store.Store, batches ...[]store.Entry) {
	t.Helper()
	var all sync.WaitGroup
	begin := make(chan struct{})
	errs := make([]error, len(batches))
	for i, entries := range batches {
		all.Go(func() {
			<-begin
			_, errs[i] = s.Apply(context.Background(), entries)
		})
	}
	close(begin)
	all.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
}

// TestUserDeletedWhileMembershipCreated: in two workers at once they cannot both
// win, whether or not the user was known before.
func TestUserDeletedWhileMembershipCreated(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	for i := range 150 {
		user, org, id := fmt.Sprint("user_", i), fmt.Sprint("org_", i%3), fmt.Sprint("orgmem_", i)
		if i%2 == 0 {
			batch(t, s, userAt(0, user, ""))
		}
		gone := userDeletedAt(2, user)
		if i%3 == 0 {
			org = fmt.Sprint("org_of_", i)
			gone = orgDeletedAt(2, org)
		}
		join := testkit.Event(msg(id), "organizationMembership.created", base+1,
			testkit.MembershipData(id, user, org, "org:member", base+1, base+1))
		together(t, s, entriesOf([]*clerk.Event{gone}), entriesOf([]*clerk.Event{join}))
		require.Empty(t, members(t, s), "round %d", i)
	}
}

// TestManyUsersRaceForOneAddress: the greatest version holds it in the end, and
// no batch fails, whether batches have one claimant or many.
func TestManyUsersRaceForOneAddress(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	for round := range 15 {
		const workers, each = 8, 6
		batches := make([][]store.Entry, workers)
		last := 0
		for i := range workers * each {
			at := (i*31 + round*7) % (workers * each) // every number once, mixed
			if at == workers*each-1 {
				last = i
			}
			w := i % workers
			// The address of the round, and before that one that everybody leaves.
			batches[w] = append(batches[w],
				entry(userAt(int64(1000*round+at), fmt.Sprint("user_", i), fmt.Sprintf("round-%d@example.com", round))))
		}
		if round%2 == 0 { // each claimant in its own transaction
			var single [][]store.Entry
			for _, entries := range batches {
				for i := range entries {
					single = append(single, entries[i:i+1])
				}
			}
			batches = single
		}
		inWorkers(t, s, workers, batches)
		require.Equal(t, map[string]string{fmt.Sprint("user_", last): fmt.Sprintf("round-%d@example.com", round)}, emailsOf(t, s))
	}
}

// inWorkers applies batches from so many goroutines, and none may fail.
func inWorkers(t *testing.T, s *store.Store, workers int, batches [][]store.Entry) {
	t.Helper()
	queue := make(chan []store.Entry, len(batches))
	for _, entries := range batches {
		queue <- entries
	}
	close(queue)
	var all sync.WaitGroup
	errs := make([]error, workers)
	for w := range workers {
		all.Go(func() {
			for entries := range queue {
				if _, err := s.Apply(context.Background(), entries); err != nil {
					errs[w] = err
				}
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
}

// TestManyAddressesTradedAtOnce: batches that pass many addresses around, in
// opposite orders, neither deadlock nor collide.
func TestManyAddressesTradedAtOnce(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	const people = 40
	var batches [][]store.Entry
	for step := range 24 {
		var entries []store.Entry
		for i := range people {
			person := i
			if step%2 == 1 {
				person = people - 1 - i
			}
			address := fmt.Sprintf("%d@example.com", (person+step)%people)
			entries = append(entries, entry(userAt(int64(step*people+person), fmt.Sprint("user_", person), address)))
		}
		batches = append(batches, entries)
	}
	inWorkers(t, s, 8, batches)
	want := map[string]string{}
	for person := range people {
		want[fmt.Sprint("user_", person)] = fmt.Sprintf("%d@example.com", (person+23)%people)
	}
	require.Equal(t, want, emailsOf(t, s))
}
