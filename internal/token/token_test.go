package token_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/testkit"
	"github.com/clerksync/clerksync/internal/token"
)

func TestSessionToken(t *testing.T) {
	t.Parallel()
	issuer := testkit.NewTokenIssuer(t)
	v, err := token.New(token.Options{Key: issuer.PEM, Issuer: issuer.Issuer, AuthorizedParties: []string{"https://app.example"}})
	require.NoError(t, err)
	claims, err := v.Verify(t.Context(), issuer.Session("user_1", "org_1", "admin"), "")
	require.NoError(t, err)
	require.Equal(t, "user_1", claims.UserID)
	require.Equal(t, "sess_2SessionOfTheTests", claims.SessionID)
	require.Equal(t, &token.Org{ID: "org_1", Slug: "slug-of-the-tests", Role: "org:admin"}, claims.Org)
}
