package doctor

import (
	"context"
	"errors"
	"fmt"

	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/source"
)

// checkSecretKey asks Clerk which instance the secret key is of. It reports whether that
// is the instance whose events the endpoint takes.
func checkSecretKey(ctx context.Context, r *Report, o Options) bool {
	if o.Clerk == nil {
		return false
	}
	ctx, cancel := context.WithTimeoutCause(ctx, askTimeout, fmt.Errorf("no answer within %s", askTimeout))
	defer cancel()
	instance, err := o.Clerk.Instance(ctx, o.InstanceID)
	switch {
	case errors.Is(err, source.ErrKey):
		r.add("secret_key", Failed, err.Error(), "copy CLERK_SECRET_KEY again from the Clerk dashboard → API keys")
	case errors.Is(err, source.ErrInstance):
		r.add("secret_key", Failed, err.Error(), "set the CLERK_SECRET_KEY of the instance that CLERK_INSTANCE_ID names")
	case err != nil:
		r.add("secret_key", Failed, "Clerk's Backend API does not answer: "+err.Error(), "let this machine reach "+o.ClerkURL+", or correct CLERK_API_URL")
	case o.InstanceID == "":
		r.add("secret_key", Warning, "it is of the instance "+instance+"; the endpoint takes events of any", "set CLERK_INSTANCE_ID="+instance)
	default:
		r.ok("secret_key", "it is of the instance that CLERK_INSTANCE_ID names")
	}
	return err == nil
}

// nextStep returns the fix of a reading. When no events come, the next step is on the
// webhook page of the Clerk instance, for which Clerk gives a link that logs in once.
func nextStep(ctx context.Context, o Options, reading *lag.Reading) string {
	if reading.State != lag.Silent || o.Clerk == nil {
		return reading.Fix
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	page, err := o.Clerk.WebhookPage(ctx)
	switch {
	case errors.Is(err, source.ErrNoWebhooks):
		return "add the endpoint: Clerk dashboard → Webhooks; this instance never had one"
	case err != nil:
		o.Logger.Debug("Clerk gave no link to the webhook page", "err", err)
		return reading.Fix
	}
	return reading.Fix + "; the webhook page, logged in once: " + page
}
