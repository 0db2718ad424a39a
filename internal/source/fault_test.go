package source_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/fakeclerk"
	"github.com/clerksync/clerksync/internal/source"
)

// TestFaults: whichever way the Backend API fails, a backfill, a reconcile and a pull finish
// when it passes, and end with the cause when it lasts. The next run then finds the rest.
func TestFaults(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault fakeclerk.Fault
		of    int64  // one of so many requests fails
		want  string // when all of them fail, "" for those whose end takes long, see TestGivesUp
	}{
		"limited":   {fakeclerk.TooMany, 12, ""},
		"slow":      {fakeclerk.NoFault, 1, ""},
		"broken":    {fakeclerk.InternalError, 3, ` with 500 internal_clerk_error, 8 times$`},
		"gateway":   {fakeclerk.BadGateway, 3, ` with 502, 8 times$`},
		"truncated": {fakeclerk.Truncated, 3, `: the answer is cut off, or not JSON, 8 times$`},
		"cut":       {fakeclerk.Cut, 3, `: the answer is cut off, or not JSON, 8 times$`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, fakeclerk.Options{Seed: 1, Now: stopped})
			w.clerk.Populate(1200, 10)
			w.worker()
			org := w.clerk.Organizations()[0]
			pull := func() error {
				p := source.WithTimeout(w.puller(w.client()), 20*time.Second)
				for _, id := range []string{org.ID, w.clerk.Users()[0].ID} {
					if _, err := p.Pull(t.Context(), id); err != nil {
						return err
					}
				}
				return nil
			}
			for _, command := range []struct {
				name string
				run  func() error
			}{
				{"pull", pull}, // into empty tables, then into full ones
				{"backfill", func() error {
					report, err := w.backfill().Run(t.Context())
					if err == nil && !report.Complete() {
						err = fmt.Errorf("not complete: %+v", report)
					}
					return err
				}},
				{"reconcile", func() error {
					report, _, err := w.reconcile(fix)
					if left := report.Differences() - report.Fixed.Sum(); err == nil && left > 0 {
						err = fmt.Errorf("%d differences are left", left)
					}
					return err
				}},
				{"pull", pull},
			} {
				_, err := w.clerk.UpdateOrganization(org.ID, func(o *fakeclerk.Organization) { o.Name += "." })
				require.NoError(t, err)
				var n atomic.Int64
				if test.want != "" {
					w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true, Fault: func(*http.Request) fakeclerk.Fault {
						if n.Add(1) > 2 {
							return test.fault
						}
						return fakeclerk.NoFault
					}})
					require.Regexp(t, `^(Clerk answered )?GET /\S+`+test.want, command.run(), command.name)
				}
				w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true, Delay: 20 * time.Millisecond, Fault: func(*http.Request) fakeclerk.Fault {
					if n.Add(1)%test.of == 0 {
						return test.fault
					}
					return fakeclerk.NoFault
				}})
				require.NoError(t, command.run(), command.name)
				w.drain()
				require.Equal(t, []string{w.clerk.Organizations()[0].Name}, w.Rows("SELECT name FROM organizations WHERE clerk_id = '"+org.ID+"'"), command.name)
				if command.name != "pull" {
					w.requireMirrored()
				}
			}
		})
	}
}
