package cli_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/clerksync/clerksync/internal/fakeclerk"
)

// clerkapi VARIABLE USERS ORGANIZATIONS [broken]: starts a Clerk with these, whose pages of
// users but the first are not found when it is broken. Sets VARIABLE_URL, VARIABLE_INSTANCE,
// VARIABLE_USER and VARIABLE_ORG; the secret key has the marker in it.
func cmdClerkAPI(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && (len(args) == 3 || len(args) == 4 && args[3] == "broken"), "clerkapi VARIABLE USERS ORGANIZATIONS [broken]")
	users, err := strconv.Atoi(args[1])
	ts.Check(err)
	organizations, err := strconv.Atoi(args[2])
	ts.Check(err)
	instance := fakeclerk.New(fakeclerk.Options{
		// The same people every time, unless their number is another.
		Seed: uint64(users), SecretKey: "sk_test_" + marker, Now: func() time.Time { return time.UnixMilli(1768208400000) },
	})
	instance.Populate(users, organizations)
	traps := fakeclerk.Traps{Unlimited: true}
	handler := http.Handler(instance)
	if len(args) == 4 {
		handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Has("created_at_after") {
				http.Error(w, `{"errors":[{"code":"resource_not_found","message":"not found"}]}`, http.StatusNotFound)
				return
			}
			instance.ServeHTTP(w, r)
		})
	}
	instance.SetTraps(traps)
	server := httptest.NewServer(handler)
	ts.Value(testKey{}).(testing.TB).Cleanup(server.Close)
	ts.Setenv(args[0]+"_URL", server.URL)
	ts.Setenv(args[0]+"_INSTANCE", instance.InstanceID())
	ts.Setenv(args[0]+"_USER", instance.Users()[0].ID)
	ts.Setenv(args[0]+"_ORG", instance.Organizations()[0].ID)
}
