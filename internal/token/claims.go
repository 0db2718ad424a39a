package token

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/clerksync/clerksync/internal/clerk"
)

// Claims are what a verified token says. The cache shares them: they must not be changed.
type Claims struct {
	UserID          string // user_…
	SessionID       string // sess_…, "" in a token of a JWT template
	AuthorizedParty string // origin of the application, "" when the token has none
	Org             *Org   // nil when no organization is selected
	IssuedAt        time.Time
	ExpiresAt       time.Time
	JSON            []byte // the claims as signed
}

// claims are those of Clerk's claims that matter here, of both versions: 2 has the
// organization in o, and 1 in org_….
type claims struct {
	Issuer    string    `json:"iss"`
	Subject   string    `json:"sub"`
	Session   string    `json:"sid"`
	Party     string    `json:"azp"`
	Audience  audiences `json:"aud"`
	Expires   *int64    `json:"exp"` // seconds
	NotBefore int64     `json:"nbf"`
	IssuedAt  int64     `json:"iat"`
	Status    string    `json:"sts"`

	Org *struct {
		ID          string `json:"id"`
		Slug        string `json:"slg"`
		Role        string `json:"rol"`
		Permissions string `json:"per"`
		Masks       string `json:"fpm"`
	} `json:"o"`
	Features string `json:"fea"`

	OrgID          string   `json:"org_id"`
	OrgSlug        string   `json:"org_slug"`
	OrgRole        string   `json:"org_role"`
	OrgPermissions []string `json:"org_permissions"`
}

// validTime reports whether a number of seconds is a time up to the year 9999: far beyond,
// [time.Time] overflows.
func validTime(seconds int64) bool { return 0 <= seconds && seconds <= 253402300799 }

// decode reads signed claims. It refuses a name that stands twice in an object: PostgreSQL
// could take the other one.
func decode(signed []byte) (*claims, error) {
	var c claims
	if err := json.Unmarshal(signed, &c); err != nil { // its text may quote the claims
		return nil, errClaims
	}
	if bytes.Contains(signed, []byte(`\u0000`)) { // the policies of the database would see nobody
		return nil, errNUL
	}
	if c.Expires == nil || !validTime(*c.Expires) {
		return nil, errNoExpiry
	}
	switch {
	case !validTime(c.NotBefore):
		return nil, misformed("nbf is no time")
	case !validTime(c.IssuedAt):
		return nil, misformed("iat is no time")
	case !validID(c.Subject, "user_"):
		return nil, misformed("sub is missing or not user_…")
	}
	return &c, nil
}

// organization returns the selected organization, or nil.
func (c *claims) organization() (*Org, error) {
	var org Org
	id, role := "o.id", "o.rol"
	switch o := c.Org; {
	case o != nil && c.OrgID != "" && c.OrgID != o.ID: // of which two readers could take different ones
		return nil, misformed("org_id names another organization than o.id")
	case o != nil:
		org = Org{ID: o.ID, Slug: o.Slug, Role: NormalRole(o.Role), Permissions: permissions(c.Features, o.Permissions, o.Masks)}
	case c.OrgID != "":
		org = Org{ID: c.OrgID, Slug: c.OrgSlug, Role: NormalRole(c.OrgRole), Permissions: c.OrgPermissions}
		id, role = "org_id", "org_role"
	default:
		return nil, nil
	}
	switch {
	case !validID(org.ID, "org_"):
		return nil, misformed(id + " is missing or not org_…")
	case !validRole(org.Role):
		return nil, misformed(role + " is not the key of a role")
	}
	return &org, nil
}

// validID checks an id before it becomes part of a query, a header or a NATS subject.
func validID(id, prefix string) bool {
	return strings.HasPrefix(id, prefix) && clerk.ValidToken(id)
}

// audiences is a claim aud: one, or several.
type audiences []string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (a *audiences) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == '[' {
		return json.UnmarshalDecode(dec, (*[]string)(a))
	}
	var one string
	if err := json.UnmarshalDecode(dec, &one); err != nil {
		return err
	}
	if *a = nil; one != "" {
		*a = audiences{one}
	}
	return nil
}

func (a audiences) has(audience string) bool { return slices.Contains(a, audience) }
