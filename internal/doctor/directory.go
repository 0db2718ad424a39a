package doctor

import (
	"context"
	"fmt"

	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/token"
)

// checkDirectory checks what the directory API needs, where it is a role.
func checkDirectory(ctx context.Context, r *Report, o Options) {
	if !o.Roles.Has(config.RoleAPI) {
		return
	}
	checkTokens(r, o.Tokens)
	checkReader(ctx, r, o)
}

// checkTokens checks that there are keys to verify session tokens with.
func checkTokens(r *Report, t config.Tokens) {
	const name = "session_tokens"
	if !t.VerifiesTokens() {
		r.add(name, Failed, "there is nothing to verify them with", "set CLERK_JWT_KEY, CLERK_FRONTEND_API_URL or CLERK_PUBLISHABLE_KEY (Clerk dashboard → API keys)")
		return
	}
	options := t.TokenOptions()
	verifier, err := token.New(options)
	if err != nil {
		r.add(name, Failed, err.Error(), "copy it again, or set CLERK_FRONTEND_API_URL instead")
		return
	}
	if err := verifier.FetchKeys(); err != nil {
		r.add(name, Failed, err.Error(), "correct CLERK_FRONTEND_API_URL, let this machine reach it, or set CLERK_JWT_KEY (Clerk dashboard → API keys)")
		return
	}
	if len(options.AuthorizedParties) == 0 {
		r.add(name, Warning, "there are keys to verify them; those that Clerk made for any of your applications are taken", "set CLERK_AUTHORIZED_PARTIES to the origins that call the API")
		return
	}
	r.ok(name, "there are keys to verify them")
}

// checkReader reads as a request to the directory API does.
func checkReader(ctx context.Context, r *Report, o Options) {
	const name = "directory"
	if o.Store == nil || o.Reader == nil {
		r.unchecked("PostgreSQL was not reached", name)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	i, err := o.Store.Inspect(ctx)
	switch {
	case err != nil:
		r.unchecked("PostgreSQL did not answer", name)
		return
	case !i.SchemaExists:
		r.unchecked("there are no tables", name)
		return
	}
	if err := o.Reader.Check(ctx); err != nil {
		r.add(name, Failed, err.Error(), fmt.Sprintf(
			"with row-level security, GRANT clerk_reader TO %[1]s; without it, GRANT USAGE ON SCHEMA %[2]s TO %[1]s, and SELECT on its tables users, organizations and org_memberships", i.Role, i.Schema))
		return
	}
	r.ok(name, i.Role+" may read what the directory API answers with")
}
