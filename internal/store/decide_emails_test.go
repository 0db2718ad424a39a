package store

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/clerksync/clerksync/internal/clerk"
)

func TestDecideEmails(t *testing.T) {
	t.Parallel()
	v := func(at int64) clerk.Version { return clerk.Version{UpdatedAt: at, EventID: "msg"} }
	deleted := clerk.Version{Deleted: true, EventID: "msg"}
	for name, tt := range map[string]struct {
		claims                 map[string]claim
		claimants              []claimant
		release, grant, holder []string
	}{
		"a new user with a free address": {
			claims: map[string]claim{"u1": {"a", v(1)}},
			holder: []string{"u1=a"},
		},
		"a user without an address": {
			claims: map[string]claim{"u1": {"", v(1)}},
		},
		"no change": {
			claims:    map[string]claim{"u1": {"a", v(2)}},
			claimants: []claimant{{"u1", claim{"a", v(2)}, "a", false}},
			holder:    []string{"u1=a"},
		},
		"a newer claimant takes it from one outside of the batch": {
			claims:    map[string]claim{"u1": {"a", v(2)}},
			claimants: []claimant{{"u2", claim{"a", v(1)}, "a", false}},
			holder:    []string{"u1=a"}, release: []string{"u2"},
		},
		"an older claimant does not": {
			claims:    map[string]claim{"u1": {"a", v(1)}},
			claimants: []claimant{{"u2", claim{"a", v(2)}, "a", false}},
		},
		"the holder gives it up, and the next outside of the batch gets it": {
			claims:    map[string]claim{"u1": {"", v(9)}},
			claimants: []claimant{{"u1", claim{"a", v(9)}, "a", false}, {"u2", claim{"a", v(1)}, "", true}, {"u3", claim{"a", v(2)}, "", true}},
			release:   []string{"u1"}, grant: []string{"u3"},
		},
		"the holder is deleted": {
			claims:    map[string]claim{"u1": {"", deleted}},
			claimants: []claimant{{"u1", claim{"a", deleted}, "a", false}, {"u2", claim{"a", v(1)}, "", true}},
			release:   []string{"u1"}, grant: []string{"u2"},
		},
		"the holder moves on, and the next in the batch gets it": {
			claims:    map[string]claim{"u1": {"b", v(9)}, "u2": {"a", v(3)}},
			claimants: []claimant{{"u1", claim{"a", v(9)}, "a", false}},
			holder:    []string{"u1=b", "u2=a"}, release: []string{"u1"},
		},
		"a swap": {
			claims:    map[string]claim{"u1": {"b", v(3)}, "u2": {"a", v(4)}},
			claimants: []claimant{{"u1", claim{"a", v(3)}, "a", false}, {"u2", claim{"b", v(4)}, "b", false}},
			holder:    []string{"u1=b", "u2=a"}, release: []string{"u1", "u2"},
		},
		"a newer update of the holder itself keeps it, though another claims it": {
			claims:    map[string]claim{"u1": {"a", v(9)}},
			claimants: []claimant{{"u1", claim{"a", v(9)}, "a", false}, {"u2", claim{"a", v(5)}, "", true}},
			holder:    []string{"u1=a"},
		},
		"versions that are equal are decided by the id": {
			claims:    map[string]claim{"u1": {"a", v(1)}, "u3": {"a", v(1)}},
			claimants: []claimant{{"u2", claim{"a", v(1)}, "a", false}},
			holder:    []string{"u3=a"}, release: []string{"u2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := decideEmails(tt.claims, tt.claimants)
			var held []string
			for id, address := range got.held {
				if address != "" {
					held = append(held, id+"="+address)
				}
			}
			require.ElementsMatch(t, tt.holder, held, "held")
			require.ElementsMatch(t, tt.release, slices.Collect(maps.Keys(got.release)), "release")
			require.ElementsMatch(t, tt.grant, got.grant, "grant")
		})
	}
}

// TestDecideEmailsProperty plays what is done with the answer on a table of users:
// afterwards every address has at most one holder, and exactly one if a live user
// claims it: the one with the greatest version.
func TestDecideEmailsProperty(t *testing.T) {
	t.Parallel()
	type user struct {
		claim claim
		email string
	}
	rapid.Check(t, func(t *rapid.T) {
		table := map[string]*user{}
		order := 0
		version := func() clerk.Version { // unlike any other, as events are
			order++
			return clerk.Version{
				Deleted: rapid.IntRange(0, 4).Draw(t, "deleted") == 0, UpdatedAt: rapid.Int64Range(0, 3).Draw(t, "at"),
				EventID: fmt.Sprintf("msg_%d_%d", rapid.IntRange(0, 9).Draw(t, "id"), order),
			}
		}
		for range rapid.IntRange(1, 6).Draw(t, "batches") {
			claims := map[string]claim{}
			for range rapid.IntRange(1, 5).Draw(t, "users") {
				c := claim{rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "address"), version()}
				if c.version.Deleted {
					c.address = ""
				}
				claims[fmt.Sprint("u", rapid.IntRange(0, 7).Draw(t, "user"))] = c
			}

			// As UserEmailFindMany: of each address that the batch claims or claimed until
			// now the holder, and the best of those that wait; with the versions of the
			// heads, which are advanced by then.
			addresses := map[string]bool{}
			for id, c := range claims {
				addresses[c.address] = true
				if u := table[id]; u != nil {
					addresses[u.claim.address] = true
				}
			}
			delete(addresses, "")
			var claimants []claimant
			for address := range addresses {
				var best *claimant
				for id, u := range table {
					c := claimant{id, u.claim, u.email, u.email == ""}
					ours, ok := claims[id]
					if ok {
						c.claim.version = ours.version
					}
					switch {
					case u.email == address:
						claimants = append(claimants, c)
					case u.claim.address == address && !ok && (best == nil || c.claim.version.Compare(best.claim.version) > 0):
						best = &c
					}
				}
				if best != nil {
					claimants = append(claimants, *best)
				}
			}

			got := decideEmails(claims, claimants)

			for id := range got.release {
				if table[id].email == "" {
					t.Fatalf("%s is to let go of nothing", id)
				}
				table[id].email = ""
			}
			for id, c := range claims {
				if held := got.held[id]; held != "" && held != c.address {
					t.Fatalf("%s holds %s and claims %s", id, held, c.address)
				}
				for other, u := range table {
					if got.held[id] != "" && other != id && u.email == got.held[id] {
						t.Fatalf("%s is written with %s while %s still has it", id, got.held[id], other)
					}
				}
			}
			for id, c := range claims {
				table[id] = &user{c, got.held[id]}
			}
			for _, id := range got.grant {
				u := table[id]
				_, released := got.release[id]
				if _, ours := claims[id]; ours || released || u.email != "" {
					t.Fatalf("%s is granted what it has, or had to let go of", id)
				}
				u.email = u.claim.address
			}

			for _, address := range []string{"a", "b", "c"} {
				best, holders := "", []string{}
				for id, u := range table {
					if u.email == address {
						holders = append(holders, id)
					}
					if u.claim.address == address && !u.claim.version.Deleted &&
						(best == "" || u.claim.version.Compare(table[best].claim.version) > 0) {
						best = id
					}
				}
				if best == "" && len(holders) != 0 || best != "" && !slices.Equal(holders, []string{best}) {
					t.Fatalf("%s is held by %v, not by %q", address, holders, best)
				}
			}
		}
	})
}

// TestRankSortsAsVersionsDo.
func TestRankSortsAsVersionsDo(t *testing.T) {
	t.Parallel()
	times := rapid.OneOf(rapid.Int64Range(-2, 2), rapid.Int64())
	version := rapid.Custom(func(t *rapid.T) clerk.Version {
		return clerk.Version{
			UpdatedAt: times.Draw(t, "updated"), EventAt: times.Draw(t, "emitted"),
			EventID: rapid.SampledFrom([]string{"msg_1", "msg_10", "msg_2", "msg", "msg-2"}).Draw(t, "id"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		v, w := version.Draw(t, "v"), version.Draw(t, "w")
		require.Equal(t, v.Compare(w), cmp.Compare(claim{"a", v}.rank(), claim{"a", w}.rank()))
	})
	require.Empty(t, claim{"", clerk.Version{EventID: "msg"}}.rank())
	require.Empty(t, claim{"a", clerk.Version{Deleted: true}}.rank())
}
