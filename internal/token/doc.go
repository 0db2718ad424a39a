// Package token verifies the tokens that Clerk signs for its users: session tokens, and
// tokens of JWT templates for the audiences that are configured. It takes the keys from
// the configuration or from Clerk's JWKS. It knows nothing of the synced rows: whether the
// user of a token still exists, or is still a member, is for its caller to find out.
package token
