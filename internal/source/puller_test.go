package source_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/archive"
	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/fakeclerk"
	"github.com/clerksync/clerksync/internal/source"
	"github.com/clerksync/clerksync/internal/testkit"
)

func (w *world) puller(c *source.Client) *source.Puller {
	p := source.NewPuller(source.PullerOptions{Client: c, Log: w.Log, Store: w.Store, Logger: slog.New(slog.DiscardHandler)})
	w.t.Cleanup(p.Close)
	return p
}

// TestPull: the row is there when it returns, with the memberships.
func TestPull(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeclerk.Options{Seed: 1})
	w.clerk.Populate(12, 2)
	w.worker()
	p := w.puller(w.client())
	org := w.clerk.Organizations()[0]
	members := 0
	for _, m := range w.clerk.Memberships() {
		if m.OrgID == org.ID {
			members++
		}
	}
	pulled, err := p.Pull(t.Context(), org.ID)
	require.NoError(t, err)
	require.Equal(t, &source.Pulled{Kind: clerk.KindOrganization, Memberships: members, Counts: archive.Counts{Stored: uint64(members) + 1}}, pulled)
	require.Equal(t, []string{org.Name}, w.Rows("SELECT name FROM organizations WHERE clerk_id = '"+org.ID+"'"))
	for _, u := range w.clerk.Users() {
		_, err := p.Pull(t.Context(), u.ID)
		require.NoError(t, err)
		require.Equal(t, []string{u.LastName}, w.Rows("SELECT last_name FROM users WHERE clerk_id = '"+u.ID+"'"))
	}
	pulled, err = p.Pull(t.Context(), org.ID)
	require.NoError(t, err)
	require.Zero(t, pulled.Counts.Stored)

	_, err = p.Pull(t.Context(), "user_madeUp")
	require.ErrorIs(t, err, source.ErrUnknown)
	for _, id := range []string{"orgmem_1", "user_", "x", "user_../instance", "user_1/organization_memberships"} {
		_, err = p.Pull(t.Context(), id)
		require.EqualError(t, err, "not the id of a user or an organization", id)
	}
}

// TestPullsOfOneIDShareARequest: and one caller that gives up ends it for no other.
func TestPullsOfOneIDShareARequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeclerk.Options{Seed: 1})
	w.worker()
	id := w.clerk.CreateUser(fakeclerk.User{LastName: "Ada"}).ID
	arrived, release := make(chan struct{}, 100), make(chan struct{})
	w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true, BeforeRead: func(r *http.Request) {
		if r.URL.Path == "/v1/users/"+id {
			arrived <- struct{}{}
			<-release
		}
	}})
	p := w.puller(w.client())
	first, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		_, err := p.Pull(first, id)
		require.ErrorIs(t, err, context.Canceled)
	})
	<-arrived
	var begun sync.WaitGroup
	for range 20 {
		begun.Add(1)
		all.Go(func() {
			begun.Done()
			_, err := p.Pull(t.Context(), id)
			require.NoError(t, err)
		})
	}
	begun.Wait()
	cancel()
	close(release)
	all.Wait()
	require.Less(t, w.clerk.Stats().Requests, 20)
}

// TestPullsLeaveTheRateLimitToOthers: made-up ids use a tenth of it.
func TestPullsLeaveTheRateLimitToOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeclerk.Options{Seed: 1})
	c := source.NewClient(source.Options{SecretKey: w.clerk.SecretKey(), URL: w.url, Rate: 100})
	t.Cleanup(c.Close)
	p := w.puller(c)
	busy := 0
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			_, err := p.Pull(t.Context(), "user_madeUp"+string(rune('a'+i%26))+string(rune('a'+i/26)))
			mu.Lock()
			defer mu.Unlock()
			if require.Error(t, err); err == source.ErrBusy {
				busy++
			}
		})
	}
	all.Wait()
	require.GreaterOrEqual(t, busy, 34)
	require.LessOrEqual(t, w.clerk.Stats().Requests, 7)
}

// TestPullThatIsNotApplied: without a worker it says where the entity is.
func TestPullThatIsNotApplied(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeclerk.Options{Seed: 1})
	id := w.clerk.CreateUser(fakeclerk.User{}).ID
	pulled, err := source.WithTimeout(w.puller(w.client()), 3*time.Second).Pull(t.Context(), id)
	require.ErrorIs(t, err, source.ErrNotApplied)
	require.EqualValues(t, 1, pulled.Counts.Stored)
	require.Len(t, w.Events(), 1)
}

// TestPullOfAnUnknownID asks Clerk once within a short time, and forgets it afterwards.
func TestPullOfAnUnknownID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeclerk.Options{Seed: 1})
	p := w.puller(w.client())
	for range 5 {
		_, err := p.Pull(t.Context(), "user_madeUp")
		require.ErrorIs(t, err, source.ErrUnknown)
	}
	require.Equal(t, 2, w.clerk.Stats().Requests, "with that for the instance")
	for i := range 5 {
		source.ForgetUnknown(p)
		_, err := p.Pull(t.Context(), fmt.Sprintf("user_madeUp%d", i%2))
		require.ErrorIs(t, err, source.ErrUnknown)
		require.Equal(t, 3+i, w.clerk.Stats().Requests)
		require.Equal(t, 1, source.Unknown(p), "those of earlier are not kept")
	}
}

// TestPullerCloses with pulls in progress, and leaves none behind.
func TestPullerCloses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeclerk.Options{Seed: 1})
	id, slow := w.clerk.CreateUser(fakeclerk.User{}).ID, w.clerk.CreateUser(fakeclerk.User{}).ID
	arrived := make(chan struct{}, 1)
	w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true, Fault: func(r *http.Request) fakeclerk.Fault {
		if r.URL.Path == "/v1/users/"+slow {
			arrived <- struct{}{}
			return fakeclerk.Hang
		}
		return fakeclerk.NoFault
	}})
	p := w.puller(w.client())
	var all sync.WaitGroup
	all.Go(func() {
		_, err := p.Pull(t.Context(), slow)
		require.ErrorIs(t, err, context.Canceled)
	})
	<-arrived
	all.Go(func() {
		_, err := p.Pull(t.Context(), id) // there is no worker
		require.ErrorIs(t, err, source.ErrNotApplied)
	})
	testkit.Eventually(t, "it is stored", func() (bool, any) { return len(w.Events()) == 1, nil })
	p.Close()
	all.Wait()
	p.Close()
	before := w.clerk.Stats().Requests
	_, err := p.Pull(t.Context(), id)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, before, w.clerk.Stats().Requests)
}

// TestPullOfALargeOrganization reads its memberships to the end, with no request too many.
func TestPullOfALargeOrganization(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeclerk.Options{Seed: 1})
	org, err := w.clerk.CreateOrganization(fakeclerk.Organization{Name: "Large"})
	require.NoError(t, err)
	for range 1100 {
		_, err := w.clerk.Join(w.clerk.CreateUser(fakeclerk.User{}).ID, org.ID, "org:member")
		require.NoError(t, err)
	}
	w.worker()
	c := source.NewClient(source.Options{SecretKey: w.clerk.SecretKey(), URL: w.url, Rate: 1000})
	t.Cleanup(c.Close)
	p := w.puller(c)
	pulled, err := p.Pull(t.Context(), org.ID)
	require.NoError(t, err)
	require.Equal(t, 1100, pulled.Memberships)
	require.Equal(t, 1+4, w.clerk.Stats().Requests, "the instance, the organization, and three pages")
}
