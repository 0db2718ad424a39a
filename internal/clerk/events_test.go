package clerk_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
)

const eventsDir = "../../testdata/events"

// outcomes say what becomes of every file of testdata/events: of a type that is
// not synced, a change of an entity, or a dead letter with its reason.
var outcomes = map[string][]string{
	"ignored": {
		"email.created", "email.created--magic-link", "email.created--sign-up",
		"invitation.accepted", "invitation.created", "invitation.revoked",
		"organizationDomain.created", "organizationDomain.created--verification-null", "organizationDomain.deleted",
		"organizationDomain.deleted--seconds-timestamp", "organizationDomain.updated", "organizationDomain.updated--expires-at",
		"organizationInvitation.accepted", "organizationInvitation.accepted--nested-organization-data",
		"organizationInvitation.accepted--without-user-id", "organizationInvitation.created",
		"organizationInvitation.created--nested-organization-data", "organizationInvitation.created--nulls",
		"organizationInvitation.created--old-catalogue", "organizationInvitation.created--seconds-timestamp",
		"organizationInvitation.revoked",
		"paymentAttempt.created", "paymentAttempt.created--example-shape", "paymentAttempt.updated", "paymentAttempt.updated--failed",
		"permission.created", "permission.deleted", "permission.deleted--full-object", "permission.updated",
		"role.created", "role.deleted", "role.deleted--full-object", "role.deleted--without-slug", "role.updated",
		"role.updated--example-shape",
		"session.created", "session.created--actor", "session.created--empty-client-ip", "session.created--orphan-primary-email",
		"session.created--seconds-timestamp", "session.created--user-null", "session.created--without-user", "session.ended",
		"session.ended--without-user", "session.pending", "session.pending--latest-activity-null", "session.removed", "session.revoked",
		"sms.created", "sms.created--created-at",
		"subscription.active", "subscription.created", "subscription.created--default-plan",
		"subscription.created--organization-payer", "subscription.pastDue", "subscription.updated", "subscription.updated--seconds-timestamp",
		"subscriptionItem.abandoned", "subscriptionItem.active", "subscriptionItem.active--object-subscription_item",
		"subscriptionItem.canceled", "subscriptionItem.created", "subscriptionItem.created--seconds-timestamp", "subscriptionItem.ended",
		"subscriptionItem.freeTrialEnding", "subscriptionItem.incomplete", "subscriptionItem.pastDue", "subscriptionItem.upcoming",
		"subscriptionItem.updated", "subscriptionItem.updated--organization-payer",
		"waitlistEntry.created", "waitlistEntry.created--object-waitlistEntry", "waitlistEntry.updated",
		"waitlistEntry.updated--object-waitlistEntry",
	},
	"user": {
		"user.created", "user.created--all-optional-fields", "user.created--backend-sdk", "user.created--ben",
		"user.created--empty-client-ip", "user.created--future-fields", "user.created--github", "user.created--google",
		"user.created--lone-surrogate-in-metadata", "user.created--metadata", "user.created--minimal-envelope",
		"user.created--missing-optional-fields", "user.created--no-event-attributes", "user.created--no-instance-id",
		"user.created--non-ascii", "user.created--nul-in-metadata", "user.created--nul-in-name", "user.created--old-catalogue",
		"user.created--orphan-primary-email", "user.created--other-instance", "user.created--phone-only",
		"user.created--private-metadata-null", "user.created--same-email", "user.created--seconds-timestamp",
		"user.created--send-example", "user.created--shape-2024", "user.created--two-emails", "user.created--unverified-primary-email",
		"user.created--username-only", "user.created--verification-statuses", "user.created--verification-without-object",
		"user.created--web3-only", "user.deleted", "user.deleted--external-id", "user.deleted--seconds-timestamp", "user.updated",
		"user.updated--banned", "user.updated--deprovisioned", "user.updated--email-removed", "user.updated--locked",
		"user.updated--seconds-timestamp", "user.updated--sign-in-only",
	},
	"organization": {
		"organization.created", "organization.created--all-optional-fields", "organization.created--birch",
		"organization.created--created-by-empty", "organization.created--logo-url", "organization.created--no-slug",
		"organization.created--non-ascii", "organization.created--public-metadata-null", "organization.created--reused-slug",
		"organization.created--seconds-timestamp", "organization.created--without-created-by", "organization.deleted",
		"organization.deleted--seconds-timestamp", "organization.deleted--without-slug", "organization.updated",
		"organization.updated--role-set", "organization.updated--seconds-timestamp",
	},
	"membership": {
		"organizationMembership.created", "organizationMembership.created--ben", "organizationMembership.created--custom-role",
		"organizationMembership.created--identifier-null", "organizationMembership.created--legacy-role-admin",
		"organizationMembership.created--legacy-role-basic-member", "organizationMembership.created--non-ascii",
		"organizationMembership.created--private-metadata", "organizationMembership.created--rejoin",
		"organizationMembership.created--seconds-timestamp", "organizationMembership.deleted", "organizationMembership.deleted--bare",
		"organizationMembership.deleted--bare-without-object", "organizationMembership.deleted--rejoin-old",
		"organizationMembership.deleted--seconds-timestamp", "organizationMembership.deleted--updated-at-bumped",
		"organizationMembership.updated", "organizationMembership.updated--public-metadata",
		"organizationMembership.updated--seconds-timestamp",
	},
	"no_id": {
		"user.deleted--without-id",                                 // nothing to delete
		"organizationMembership.created--without-public-user-data", // a membership of no user
	},
}

// file reads an event of testdata/events as the receiver would make it.
func file(t testing.TB, name string) *clerk.Event {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(eventsDir, name+".json"))
	require.NoError(t, err)
	e := &clerk.Event{ID: "msg_" + name, ReceivedAt: time.UnixMilli(1770000000000), Body: body}
	e.Envelope, err = clerk.ParseEnvelope(body)
	require.NoError(t, err, name)
	return e
}

// files returns the bodies of testdata/events.
func files(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(eventsDir, "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	bodies := map[string][]byte{}
	for _, path := range paths {
		body, err := os.ReadFile(path)
		require.NoError(t, err)
		bodies[strings.TrimSuffix(filepath.Base(path), ".json")] = body
	}
	return bodies
}

func TestEveryFileOfTestdata(t *testing.T) {
	t.Parallel()
	left := files(t)
	for outcome, names := range outcomes {
		for _, name := range names {
			require.Contains(t, left, name, "no such file, or listed twice")
			delete(left, name)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				e := file(t, name)
				c, err := clerk.ParseChange(e)
				switch outcome {
				case "ignored":
					require.NoError(t, err)
					require.Nil(t, c)
				case "no_id":
					require.Equal(t, "no_id", clerk.Reason(err))
					require.Nil(t, c)
				default:
					require.NoError(t, err)
					require.Equal(t, clerk.Kind(outcome), c.Kind)
					require.Empty(t, cmp.Diff(expect(t, e), plain(t, c)))
				}
			})
		}
	}
	require.Empty(t, left, "say in the table what becomes of these files")
}

// The change of an event, worked out a second time: with the standard library,
// from nothing but what Clerk documents of the fields. Metadata and Raw are decoded,
// so that only what they mean is compared.

type object = map[string]any

type change struct {
	Change              clerk.Change
	Raw, PublicMetadata any
	DeletedAt           int64
}

func plain(t *testing.T, c *clerk.Change) change {
	p := change{Change: *c, DeletedAt: c.Version.EventAt}
	if u := p.Change.User; u != nil {
		u := *u
		p.Raw, p.PublicMetadata = numbers(t, u.Raw), numbers(t, u.PublicMetadata)
		u.Raw, u.PublicMetadata = nil, nil
		p.Change.User = &u
	}
	if o := p.Change.Organization; o != nil {
		o := *o
		p.Raw, p.PublicMetadata = numbers(t, o.Raw), numbers(t, o.PublicMetadata)
		o.Raw, o.PublicMetadata = nil, nil
		p.Change.Organization = &o
	}
	if m := p.Change.Membership; m != nil {
		m := *m
		p.PublicMetadata = numbers(t, m.PublicMetadata)
		m.PublicMetadata = nil
		p.Change.Membership = &m
	}
	return p
}

// numbers decodes JSON and keeps numbers as they are written: some are beyond 2^53.
func numbers(t *testing.T, data []byte) any {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	require.NoError(t, dec.Decode(&v))
	return normal(v)
}

func expect(t *testing.T, e *clerk.Event) change {
	body := numbers(t, e.Body).(object)
	data := body["data"].(object)
	str := func(v any) string {
		s, _ := v.(string)
		return s
	}
	num := func(v any) int64 {
		n, ok := v.(json.Number)
		if !ok {
			return 0
		}
		i, err := n.Int64()
		require.NoError(t, err)
		return i
	}
	flag := func(key string) bool {
		b, _ := data[key].(bool)
		return b
	}
	bag := func() any {
		if m, ok := data["public_metadata"].(object); ok {
			return m
		}
		return object{}
	}

	resource, action, _ := strings.Cut(str(body["type"]), ".")
	at := num(body["timestamp"])
	if at < 1e11 {
		at *= 1000
	}
	deleted := action == "deleted"
	want := change{
		Change:    clerk.Change{ID: str(data["id"]), Version: clerk.Version{Deleted: deleted, EventAt: at, EventID: e.ID}},
		DeletedAt: at,
	}
	c := &want.Change
	switch resource {
	case "user":
		c.Kind = clerk.KindUser
		if deleted {
			return want
		}
		c.User = &clerk.User{
			Username: str(data["username"]), FirstName: str(data["first_name"]), LastName: str(data["last_name"]),
			ImageURL: str(data["image_url"]), ExternalID: str(data["external_id"]),
			Banned: flag("banned"), Locked: flag("locked"), Deprovisioned: flag("deprovisioned"),
			LastSignInAt: num(data["last_sign_in_at"]), CreatedAt: num(data["created_at"]), UpdatedAt: num(data["updated_at"]),
		}
		list := func(key string) []any {
			l, _ := data[key].([]any)
			return l
		}
		for _, x := range list("email_addresses") {
			if a := x.(object); a["id"] == data["primary_email_address_id"] {
				c.User.PrimaryEmail = str(a["email_address"])
				v, _ := a["verification"].(object)
				c.User.EmailVerified = v["status"] == "verified"
			}
		}
		for _, x := range list("phone_numbers") {
			if p := x.(object); p["id"] == data["primary_phone_number_id"] {
				c.User.PhoneNumber = str(p["phone_number"])
			}
		}
		want.Raw, want.PublicMetadata = any(data), bag()
	case "organization":
		c.Kind = clerk.KindOrganization
		if deleted {
			return want
		}
		c.Organization = &clerk.Organization{
			Name: str(data["name"]), Slug: str(data["slug"]), ImageURL: str(data["image_url"]), CreatedBy: str(data["created_by"]),
			CreatedAt: num(data["created_at"]), UpdatedAt: num(data["updated_at"]),
		}
		want.Raw, want.PublicMetadata = any(data), bag()
	case "organizationMembership":
		c.Kind = clerk.KindMembership
		organization, ok := data["organization"].(object)
		user, ok2 := data["public_user_data"].(object)
		if !ok || !ok2 {
			require.True(t, deleted, "only a delete can be bare")
			return want
		}
		c.Membership = &clerk.Membership{
			UserID: str(user["user_id"]), OrgID: str(organization["id"]), Role: str(data["role"]),
			CreatedAt: num(data["created_at"]), UpdatedAt: num(data["updated_at"]),
		}
		if permissions, ok := data["permissions"].([]any); ok {
			c.Membership.Permissions = []string{}
			for _, p := range permissions {
				c.Membership.Permissions = append(c.Membership.Permissions, str(p))
			}
		}
		want.PublicMetadata = bag()
	}
	c.Version.UpdatedAt = num(data["updated_at"])
	return want
}
