package directory

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/token"
)

// profile answers with the user of the token. The organization of the token does not
// matter: a user that lost it has to be able to see which are left.
func (h *Handler) profile(w http.ResponseWriter, r *request) error {
	v, err := h.viewer(r, "")
	if err != nil {
		return err
	}
	var profile *store.Profile
	if err := h.find(r.Context(), v, false, func(ctx context.Context) (_ bool, err error) {
		profile, err = h.o.Reader.Profile(ctx, v)
		return profile != nil, err
	}); err != nil {
		return err
	}
	for i := range profile.Memberships {
		m := &profile.Memberships[i]
		m.Role = token.NormalRole(m.Role)
	}
	return answer(w, profile)
}

// organization answers with the organization of the token, and the user's membership.
func (h *Handler) organization(w http.ResponseWriter, r *request) error {
	v, err := h.member(r)
	if err != nil {
		return err
	}
	var organization *store.Organization
	if err := h.find(r.Context(), v, true, func(ctx context.Context) (_ bool, err error) {
		organization, err = h.o.Reader.Organization(ctx, v)
		return organization != nil, err
	}); err != nil {
		return err
	}
	organization.Membership.Role = token.NormalRole(organization.Membership.Role)
	return answer(w, organization)
}

const (
	// A page has defaultLimit members, and maxLimit at most.
	defaultLimit = 50
	maxLimit     = 100
)

// memberPage is a page of members.
type memberPage struct {
	Members    []store.Member `json:"members"`
	NextCursor *string        `json:"next_cursor"` // null on the last page
}

// members answers with a page of the members of the token's organization.
func (h *Handler) members(w http.ResponseWriter, r *request) error {
	selection, err := r.selection()
	if err != nil {
		return err
	}
	v, err := h.member(r)
	if err != nil {
		return err
	}
	limit := selection.Most
	selection.Most++ // one more tells whether there is another page
	page := memberPage{}
	if err := h.find(r.Context(), v, true, func(ctx context.Context) (allowed bool, err error) {
		page.Members, allowed, err = h.o.Reader.Members(ctx, v, selection)
		return allowed, err
	}); err != nil {
		return err
	}
	if len(page.Members) > limit {
		page.Members = page.Members[:limit]
		page.NextCursor = new(encodeCursor(page.Members[limit-1].ID))
	}
	for i := range page.Members {
		m := &page.Members[i]
		m.Role = token.NormalRole(m.Role)
	}
	return answer(w, page)
}

// A cursor is the id of the last membership of a page, in a form that says not to make one
// up. Whatever it says, the page is of the token's organization.

func encodeCursor(id string) string { return base64.RawURLEncoding.EncodeToString([]byte(id)) }

func decodeCursor(cursor string) (id string, err error) {
	decoded, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || !clerk.ValidToken(string(decoded)) {
		return "", errors.New("no cursor")
	}
	return string(decoded), nil
}
