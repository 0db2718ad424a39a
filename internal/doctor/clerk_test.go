package doctor

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/fakeclerk"
	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/source"
)

// asks returns options with a client of a Clerk.
func asks(t *testing.T, clerk *fakeclerk.Clerk, key string) Options {
	api := httptest.NewServer(clerk)
	t.Cleanup(api.Close)
	client := source.NewClient(source.Options{SecretKey: key, URL: api.URL})
	t.Cleanup(client.Close)
	return Options{Clerk: client, ClerkURL: "https://api.example.com", Logger: slog.New(slog.DiscardHandler)}
}

func TestSecretKey(t *testing.T) {
	t.Parallel()
	check := func(o Options) (bool, Check) {
		r := &Report{}
		ours := checkSecretKey(t.Context(), r, o)
		require.Len(t, r.Checks, 1)
		return ours, r.Checks[0]
	}
	clerk := fakeclerk.New(fakeclerk.Options{InstanceID: "ins_ours"})
	o := asks(t, clerk, clerk.SecretKey())

	ours, got := check(o)
	require.True(t, ours)
	require.Equal(t, Check{"secret_key", Warning, "it is of the instance ins_ours; the endpoint takes events of any", "set CLERK_INSTANCE_ID=ins_ours"}, got)

	o.InstanceID = "ins_ours"
	ours, got = check(o)
	require.True(t, ours)
	require.Equal(t, Check{"secret_key", OK, "it is of the instance that CLERK_INSTANCE_ID names", ""}, got)

	o.InstanceID = "ins_another"
	ours, got = check(o)
	require.False(t, ours)
	require.Equal(t, Check{
		"secret_key", Failed, "the secret key is of another Clerk instance: ins_ours, wanted ins_another",
		"set the CLERK_SECRET_KEY of the instance that CLERK_INSTANCE_ID names",
	}, got)

	ours, got = check(asks(t, clerk, "sk_test_another"))
	require.False(t, ours)
	require.Equal(t, Check{
		"secret_key", Failed, "the secret key is not taken by Clerk: Clerk answered GET /instance with 401 clerk_key_invalid",
		"copy CLERK_SECRET_KEY again from the Clerk dashboard → API keys",
	}, got)

	clerk.SetTraps(fakeclerk.Traps{Unresolved: true})
	_, got = check(o)
	require.Equal(t, "the secret key is not taken by Clerk: Clerk answered GET /instance with 404 resource_not_found", got.Seen)

	clerk.SetTraps(fakeclerk.Traps{Fault: func(*http.Request) fakeclerk.Fault { return fakeclerk.Hang }})
	_, got = check(o)
	require.Equal(t, Check{
		"secret_key", Failed, "Clerk's Backend API does not answer: GET /instance: no answer within 5s",
		"let this machine reach https://api.example.com, or correct CLERK_API_URL",
	}, got)

	r := &Report{}
	require.False(t, checkSecretKey(t.Context(), r, Options{}))
	require.Empty(t, r.Checks, "without a key, Clerk is not asked")
}

// TestNextStepOfSilence: the webhook page of the instance, if Clerk has a link to it.
func TestNextStepOfSilence(t *testing.T) {
	t.Parallel()
	silent := &lag.Reading{State: lag.Silent, Fix: "look there"}
	clerk := fakeclerk.New(fakeclerk.Options{})
	o := asks(t, clerk, clerk.SecretKey())
	require.Regexp(t, `^look there; the webhook page, logged in once: https://app\.svix\.com/login#key=[\w+/]+=*$`, nextStep(t.Context(), o, silent))
	require.Equal(t, "start it", nextStep(t.Context(), o, &lag.Reading{State: lag.Stuck, Fix: "start it"}))
	require.Equal(t, "look there", nextStep(t.Context(), Options{}, silent))

	clerk.SetTraps(fakeclerk.Traps{NoWebhooks: true})
	require.Equal(t, "add the endpoint: Clerk dashboard → Webhooks; this instance never had one", nextStep(t.Context(), o, silent))
	for _, fault := range []fakeclerk.Fault{fakeclerk.InternalError, fakeclerk.TooMany, fakeclerk.Truncated, fakeclerk.Cut} {
		clerk.SetTraps(fakeclerk.Traps{Fault: func(*http.Request) fakeclerk.Fault { return fault }})
		require.Equal(t, "look there", nextStep(t.Context(), o, silent))
	}
}
