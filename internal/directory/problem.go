package directory

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/clerksync/clerksync/internal/token"
)

// problem is an answer that is no success, as RFC 9457 has it.
type problem struct {
	Type   string `json:"type"` // where the code is explained
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"` // the cause and the next step
	Code   string `json:"code"`

	retryAfter time.Duration // 0: none
}

func (p *problem) Error() string { return p.Code + ": " + p.Detail }

// page explains the codes, each in a section of its name.
const page = "https://github.com/clerksync/clerksync/blob/main/docs/directory-api.md#"

// The codes besides those of package token. They are part of the API and stay as they are.
const (
	codeOrgNotSelected   = "org_not_selected"
	codeNotAMember       = "not_a_member"
	codeRoleRequired     = "role_required"
	codeUserInactive     = "user_inactive"
	codeNotSyncedYet     = "not_synced_yet"
	codeRateLimited      = "rate_limited"
	codeUnavailable      = "unavailable"
	codeInvalidParameter = "invalid_parameter"
	codeNotFound         = "not_found"
	codeMethodNotAllowed = "method_not_allowed"
)

// kind is what the problems of one code have in common.
type kind struct {
	status     int
	title      string
	retryAfter time.Duration
}

// kinds has every code.
var kinds = map[string]kind{
	string(token.Missing):          {http.StatusUnauthorized, "There is no token", 0},
	string(token.Invalid):          {http.StatusUnauthorized, "The token is not valid", 0},
	string(token.Expired):          {http.StatusUnauthorized, "The token has expired", 0},
	string(token.Category):         {http.StatusUnauthorized, "The token is of another kind", 0},
	string(token.AudienceMismatch): {http.StatusUnauthorized, "The token is for another audience", 0},
	string(token.KeysUnavailable):  {http.StatusServiceUnavailable, "Clerk's keys cannot be fetched", 5 * time.Second},
	codeOrgNotSelected:             {http.StatusForbidden, "No organization is selected", 0},
	codeNotAMember:                 {http.StatusForbidden, "Not a member of the organization", 0},
	codeRoleRequired:               {http.StatusForbidden, "Another role is required", 0},
	codeUserInactive:               {http.StatusForbidden, "The user is not active", 0},
	codeNotSyncedYet:               {http.StatusServiceUnavailable, "Not synced yet", 2 * time.Second},
	codeRateLimited:                {http.StatusTooManyRequests, "Too many requests", time.Second},
	codeUnavailable:                {http.StatusServiceUnavailable, "The database cannot be read", 2 * time.Second},
	codeInvalidParameter:           {http.StatusBadRequest, "A parameter is not valid", 0},
	codeNotFound:                   {http.StatusNotFound, "There is no such path", 0},
	codeMethodNotAllowed:           {http.StatusMethodNotAllowed, "The method is not allowed", 0},
}

func newProblem(code, detail string) *problem {
	k := kinds[code]
	return &problem{Type: page + code, Title: k.title, Status: k.status, Detail: detail, Code: code, retryAfter: k.retryAfter}
}

// The problems that are always the same.
var (
	errOrgNotSelected = newProblem(codeOrgNotSelected, "the token has no organization; let the user select one (Clerk's OrganizationSwitcher, or setActive with an organization), and send a new token")
	errNoOrgClaim     = newProblem(codeOrgNotSelected, errOrgNotSelected.Detail+", or add {\"org_id\": \"{{org.id}}\"} to the JWT template")
	errNotAMember     = newProblem(codeNotAMember, "the user of the token is not, or no longer, a member of its organization; let the user select another organization, and send a new token")
	errUserBanned     = newProblem(codeUserInactive, "the user is banned or was deprovisioned; lift that in the Clerk dashboard → Users, or sign in as another user")
	errUserDeleted    = newProblem(codeUserInactive, "the user was deleted; sign up again, or sign in as another user")
	errUserUnknown    = newProblem(codeUserInactive, "Clerk has no such user: it was deleted, or the token is of another instance; sign in again")
	errNotSynced      = newProblem(codeNotSyncedYet, "the webhook about this user, or about the membership, has not been applied yet; send the request again after the time in Retry-After")
	errRateLimited    = newProblem(codeRateLimited, fmt.Sprintf("the user has sent more than %d requests in a short time; wait for the time in Retry-After, and keep answers for some seconds", userBurst))
	errUnavailable    = newProblem(codeUnavailable, "the database cannot be read now; send the request again after the time in Retry-After")
	errNotFound       = newProblem(codeNotFound, "the paths of this API are in "+openAPIPath)
	errOff            = newProblem(codeNotFound, "the directory API is off in this process: set CLERK_JWT_KEY (Clerk dashboard → API keys), and run it with the role api or all")
	errPreflight      = newProblem(codeMethodNotAllowed, "a browser of another origin asks whether it may call this API: list its origin in CLERK_AUTHORIZED_PARTIES")
	errMethod         = newProblem(codeMethodNotAllowed, "this API only reads; send GET or HEAD")
)

func errRoleRequired(wanted []string, has string) *problem {
	return newProblem(codeRoleRequired, fmt.Sprintf("this needs the role %s in the organization, and the user has %s; let an admin of the organization change the role", strings.Join(wanted, " or "), has))
}

func errInvalidParameter(name, text string) *problem {
	return newProblem(codeInvalidParameter, fmt.Sprintf("%s: %s", name, text))
}

// problemOf returns the problem of an error.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if refused, ok := errors.AsType[*token.Error](err); ok {
		return newProblem(string(refused.Code), refused.Detail)
	}
	return errUnavailable
}

// challenge returns the header WWW-Authenticate, by RFC 6750: without an error when there
// was no token.
func (p *problem) challenge() string {
	if p.Code == string(token.Missing) {
		return `Bearer realm="clerksync"`
	}
	return fmt.Sprintf(`Bearer realm="clerksync", error="invalid_token", error_description="%s"`, p.Code)
}
