package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/clerksync/clerksync/internal/store/db"
)

// readTimeout is how long PostgreSQL works on one statement of a [Reader]. The slowest, a
// search among the 100,000 members of one organization, takes a fraction of a second.
const readTimeout = 3 * time.Second

// Reader reads the synced tables on behalf of users. Its connections are apart from those
// of a [Store]: their planner is free to scan and sort, they read only, and a flood of
// requests leaves those that apply events alone. It is safe for concurrent use.
type Reader struct {
	pool     *pool
	q        *db.Queries
	schema   string
	policies policies

	testOnlyRewrite func(sql string) string
}

// OpenReader makes a pool of connections. It does not connect. Without MaxConns, the pool
// has as many connections as pool_max_conns in the URL says, and else pgx's default.
func OpenReader(ctx context.Context, o Options) (*Reader, error) {
	pool, err := openPool(ctx, o, map[string]string{
		"statement_timeout":                   fmt.Sprintf("%dms", readTimeout.Milliseconds()),
		"idle_in_transaction_session_timeout": "10s",
		"default_transaction_read_only":       "on",
		"jit":                                 "off", // compiling takes longer than any of these queries
		// A page of members is read in the order of its index, up to where it ends. Knowing
		// the organization, or below the policies, the planner would rather read and sort all
		// members: of 100,000 that takes seventy times as long.
		"plan_cache_mode":   "force_generic_plan",
		"enable_bitmapscan": "off",
	})
	if err != nil {
		return nil, err
	}
	return &Reader{pool: pool, q: db.New(), schema: o.Schema}, nil
}

// Close waits for connections in use to be returned, and closes them all.
func (r *Reader) Close() { r.pool.Close() }

// Viewer is the user on whose behalf rows are read, as a verified token names it.
type Viewer struct {
	UserID string
	OrgID  string // the active organization, "" without one
	Claims []byte // all claims of the token, in JSON, for the policies of the database
}

// begin returns the handle of one query on behalf of a viewer.
func (r *Reader) begin(ctx context.Context, v Viewer) (*pipeline, error) {
	bound, err := r.policies.present(ctx, r)
	if err != nil {
		return nil, err
	}
	p, err := r.pool.pipeline(ctx)
	if err != nil {
		return nil, err
	}
	p.rewrite = r.testOnlyRewrite
	if bound {
		_ = r.q.ReaderEnter(ctx, p, string(v.Claims)) // sent with the query, whose error it becomes
	}
	return p, nil
}

// policiesFor is how long a reader relies on what it knows of the policies: a running
// process notices a migration after that.
const policiesFor = 5 * time.Second

// policies is whether the tables have row-level security, as far as it is known.
type policies struct {
	mu    sync.Mutex
	bound bool
	until time.Time
}

func (p *policies) present(ctx context.Context, r *Reader) (bool, error) {
	p.mu.Lock()
	bound, fresh := p.bound, time.Now().Before(p.until)
	p.mu.Unlock()
	if fresh {
		return bound, nil
	}
	bound, err := r.q.PoliciesGet(ctx, r.pool)
	if err != nil {
		return false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bound, p.until = bound, time.Now().Add(policiesFor)
	return bound, nil
}

// Check reads as a request does: what is missing for it is missing for requests.
func (r *Reader) Check(ctx context.Context) error {
	_, _, err := r.Role(ctx, Viewer{Claims: []byte("{}")})
	return err
}

// Outage is [Outage] for an error of this reader, with the next step where one is known. It
// names no login either.
func (r *Reader) Outage(err error) string {
	refusal, _ := errors.AsType[*serverError](err)
	switch {
	case refusal == nil:
	case refusal.code == pgerrcode.UndefinedTable:
		return "the tables are missing, or the user of DATABASE_URL may not use the schema " + r.schema +
			": clerksync migrate up, or GRANT USAGE ON SCHEMA " + r.schema + " TO that user"
	case refusal.code == pgerrcode.UndefinedColumn:
		return Outage(err) + ": clerksync migrate up"
	case refusal.code == pgerrcode.InsufficientPrivilege:
		return Outage(err) + ": GRANT clerk_reader TO the user of DATABASE_URL where the tables have row-level security, or else SELECT on them"
	}
	return Outage(err)
}

// Role returns the role of the viewer in the active organization, "" when the viewer is no
// member of it. known is false when there is no such user, or none that may do anything.
func (r *Reader) Role(ctx context.Context, v Viewer) (role string, known bool, err error) {
	p, err := r.begin(ctx, v)
	if err != nil {
		return "", false, wrap("read role", err)
	}
	found, err := r.q.RoleGet(ctx, p, &db.RoleGetParams{UserID: v.UserID, OrgID: v.OrgID})
	row, err := orNil("read role", &found, err)
	if row == nil {
		return "", false, err
	}
	return *row, true, nil
}

// Profile is a user with the memberships.
type Profile struct {
	ID             string              `json:"id"`
	Email          *string             `json:"email"`
	EmailVerified  bool                `json:"email_verified"`
	Name           *string             `json:"name"`
	FirstName      *string             `json:"first_name"`
	LastName       *string             `json:"last_name"`
	Username       *string             `json:"username"`
	PhoneNumber    *string             `json:"phone_number"`
	ImageURL       *string             `json:"image_url"`
	ExternalID     *string             `json:"external_id"`
	PublicMetadata json.RawMessage     `json:"public_metadata"`
	LastSignInAt   *time.Time          `json:"last_sign_in_at"`
	CreatedAt      *time.Time          `json:"created_at"`
	UpdatedAt      *time.Time          `json:"updated_at"`
	Memberships    []ProfileMembership `json:"memberships"`
}

// Membership is a user's own membership in an organization.
type Membership struct {
	ID          string     `json:"id"`
	Role        string     `json:"role"`
	Permissions []string   `json:"permissions"`
	CreatedAt   *time.Time `json:"created_at"`
}

// ProfileMembership is a membership with its organization.
type ProfileMembership struct {
	Membership
	Organization OrganizationSummary `json:"organization"`
}

// OrganizationSummary is what a list shows of an organization.
type OrganizationSummary struct {
	ID       string  `json:"id"`
	Name     *string `json:"name"` // null until the organization's own event was applied
	Slug     *string `json:"slug"`
	ImageURL *string `json:"image_url"`
}

// Profile returns the viewer, nil when there is no such user, or none that may do anything.
func (r *Reader) Profile(ctx context.Context, v Viewer) (*Profile, error) {
	handle, err := r.begin(ctx, v)
	if err != nil {
		return nil, wrap("read profile", err)
	}
	rows, err := r.q.ProfileList(ctx, handle, v.UserID)
	if err != nil || len(rows) == 0 {
		return nil, wrap("read profile", err)
	}
	u := rows[0]
	p := &Profile{
		ID: u.ClerkID, Email: u.PrimaryEmail, EmailVerified: u.EmailVerified, Name: u.Name, FirstName: u.FirstName, LastName: u.LastName,
		Username: u.Username, PhoneNumber: u.PhoneNumber, ImageURL: u.ImageUrl, ExternalID: u.ExternalID, PublicMetadata: u.PublicMetadata,
		LastSignInAt: u.LastSignInAt, CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt, Memberships: []ProfileMembership{},
	}
	for _, m := range rows {
		if m.MembershipID == nil || m.OrgID == nil {
			continue
		}
		p.Memberships = append(p.Memberships, ProfileMembership{
			Membership{*m.MembershipID, *m.Role, m.Permissions, m.JoinedAt},
			OrganizationSummary{*m.OrgID, m.OrgName, m.OrgSlug, m.OrgImageUrl},
		})
	}
	return p, nil
}

// Organization is an organization with the viewer's membership.
type Organization struct {
	OrganizationSummary
	PublicMetadata json.RawMessage `json:"public_metadata"`
	CreatedAt      *time.Time      `json:"created_at"`
	UpdatedAt      *time.Time      `json:"updated_at"`
	Membership     Membership      `json:"membership"`
}

// Organization returns the viewer's active organization, nil when the viewer is no member
// of it.
func (r *Reader) Organization(ctx context.Context, v Viewer) (*Organization, error) {
	p, err := r.begin(ctx, v)
	if err != nil {
		return nil, wrap("read organization", err)
	}
	found, err := r.q.OrganizationGetFor(ctx, p, &db.OrganizationGetForParams{UserID: v.UserID, OrgID: v.OrgID})
	o, err := orNil("read organization", found, err)
	if o == nil {
		return nil, err
	}
	return &Organization{
		OrganizationSummary{o.ClerkID, o.Name, o.Slug, o.ImageUrl},
		o.PublicMetadata, o.CreatedAt, o.UpdatedAt,
		Membership{o.MembershipID, o.Role, o.Permissions, o.JoinedAt},
	}, nil
}

// Members selects members of an organization.
type Members struct {
	After  string   // the last membership of the page before, "" for the first page
	Roles  []string // as the rows have them; none selects all
	Search string   // part of a name or an e-mail address, "" selects all
	Most   int
}

// Member is a member as the others see it.
type Member struct {
	ID        string     `json:"id"` // of the membership
	Role      string     `json:"role"`
	CreatedAt *time.Time `json:"created_at"`
	User      Person     `json:"user"`
}

// Person is what members of an organization see of each other, as in Clerk's own
// components.
type Person struct {
	ID        string  `json:"id"`
	Name      *string `json:"name"`
	FirstName *string `json:"first_name"`
	LastName  *string `json:"last_name"`
	ImageURL  *string `json:"image_url"`
	Email     *string `json:"email"`
}

// Members returns members of the viewer's active organization, the oldest membership first.
// allowed is false when the viewer is no member of it.
func (r *Reader) Members(ctx context.Context, v Viewer, m Members) (members []Member, allowed bool, err error) {
	p := &db.MemberListParams{UserID: v.UserID, OrgID: v.OrgID, After: m.After, Roles: m.Roles, Most: int32(m.Most)}
	if p.Roles == nil {
		p.Roles = []string{}
	}
	if m.Search != "" {
		p.Pattern = "%" + escapeLike.Replace(m.Search) + "%"
	}
	handle, err := r.begin(ctx, v)
	if err != nil {
		return nil, false, wrap("read members", err)
	}
	rows, err := r.q.MemberList(ctx, handle, p)
	if err != nil || len(rows) == 0 {
		return nil, false, wrap("read members", err)
	}
	members = []Member{}
	for _, m := range rows {
		if m.ClerkID != "" {
			members = append(members, Member{m.ClerkID, m.Role, m.CreatedAt, Person{m.UserID, m.Name, m.FirstName, m.LastName, m.ImageUrl, m.PrimaryEmail}})
		}
	}
	return members, true, nil
}

// escapeLike has a pattern match the characters themselves.
var escapeLike = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// UserState is why a viewer was not found.
type UserState string

// The states of a user.
const (
	UserUnknown       UserState = ""     // no row, or none that this role may see
	UserStub          UserState = "stub" // only its id is known, from a membership
	UserActive        UserState = "active"
	UserBanned        UserState = "banned"
	UserDeprovisioned UserState = "deprovisioned"
	UserDeleted       UserState = "deleted"
)

// Miss explains why something was not found.
type Miss struct {
	User UserState
	// Removed means that a membership of the viewer in the active organization was seen: it
	// is not one that has yet to come.
	Removed bool
}

// Explain tells why a viewer, or the viewer's membership, was not found. It asks without
// the policies, and about nobody but the viewer. A login that may read only as
// clerk_reader does not get to know more than that.
func (r *Reader) Explain(ctx context.Context, v Viewer) (*Miss, error) {
	row, err := r.q.MissGet(ctx, r.pool, &db.MissGetParams{UserID: v.UserID, OrgID: v.OrgID})
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg) && pg.Code == pgerrcode.InsufficientPrivilege:
		return &Miss{}, nil
	case err != nil:
		return nil, wrap("read user", err)
	}
	return &Miss{UserState(row.State), row.Seat}, nil
}
