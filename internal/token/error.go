package token

import "strconv"

// Code says why a token is refused. It is part of the answers of the directory API and
// stays as it is.
type Code string

// The codes.
const (
	Missing          Code = "token_missing"
	Invalid          Code = "token_invalid"
	Expired          Code = "token_expired"
	Category         Code = "token_category"    // a session token is meant, and this is another kind
	AudienceMismatch Code = "audience_mismatch" // a token of a JWT template for an audience is meant, and this is not
	KeysUnavailable  Code = "keys_unavailable"  // not the token's fault: no key was ever had from Clerk
)

// Error says why a token is refused.
type Error struct {
	Code   Code
	Detail string // the cause and the next step; nothing of the token
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Detail }

func invalid(detail string) *Error { return &Error{Invalid, detail} }

// misformed refuses a claim that is not as Clerk makes it. The text names it.
func misformed(claim string) *Error {
	return invalid("the claim " + claim + "; in a JWT template, keep the names and forms of Clerk's own claims")
}

// unknownAudience refuses an audience that is not configured. A long one is not quoted.
func unknownAudience(audience string) *Error {
	name := strconv.Quote(audience)
	if len(name) > 100 {
		name = "this audience"
	}
	return &Error{AudienceMismatch, "CLERK_AUDIENCE of clerksync does not list " + name + ": add it and restart, or correct audience= in the gateway"}
}

// The refusals that do not depend on the configuration.
var (
	errMissing = &Error{Missing, "there is no token; send the header Authorization: Bearer with the token that Clerk's getToken() returns, as a mobile client or another origin must; a browser on the same origin may send the cookie __session"}

	errTooLong   = invalid("the token is longer than 8 KB; keep custom claims small")
	errForm      = invalid("not a signed JWT; send the token that Clerk's getToken() returns, as it is")
	errEncrypted = invalid("an encrypted token (JWE); Clerk signs its tokens and does not encrypt them")
	errNoJSON    = invalid("not a JWT: its first part is no JSON; send what Clerk's getToken() returns, as it is")
	errHeader    = invalid("the header of the token is not one that Clerk makes: RS256 is the only algorithm, and crit is not supported")
	errSignature = invalid("the signature is not by the key of this Clerk instance; a development and a production instance have different keys: is the token from the other one?")
	errKey       = invalid("the token is signed by a key that this Clerk instance does not have; is the token from another instance?")
	errClaims    = invalid("the claims of the token are not as Clerk makes them; in a JWT template, keep the names and forms of Clerk's own claims")
	errNUL       = invalid("a claim has the character NUL, which PostgreSQL cannot read; keep it out of the metadata that the session token or the JWT template takes in")
	errNoExpiry  = invalid("the token has no usable expiry (claim exp); Clerk's tokens have one")
	errFuture    = invalid("the token is not valid yet; is a clock wrong? Clerk's tokens are valid at once")
	errPending   = invalid("the session is pending: its user has to finish a task first, such as choosing an organization")
	errTwo       = invalid("there are two Authorization headers; send one")
	errParty     = invalid("the token was made for another application (claim azp); add its origin to CLERK_AUTHORIZED_PARTIES if it is yours")
	errNoParty   = invalid("the token does not name the application that it was made for (claim azp), as those of native apps; CLERK_AUTHORIZED_PARTIES can take them: add " + NoParty)
	errCookie    = invalid("the token of the cookie does not name the application that it was made for (claim azp); load the page again, or send the token in the header Authorization: Bearer")

	errExpired = &Error{Expired, "the token has expired; call Clerk's getToken() for every request: a session token lives for a minute"}

	errTemplate  = &Error{Category, "a token of a JWT template, where a session token is meant; call getToken() without a template"}
	errMachine   = &Error{Category, "a machine's token, where the token of a user is meant"}
	errOther     = &Error{Category, "not a session token of Clerk, though signed by it; send the token that getToken() returns"}
	errNoSession = &Error{Category, "the token names no session, so it outlives a revoked one; send the session token that getToken() returns without a template"}
)
