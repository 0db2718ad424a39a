package directory

import (
	"context"
	"net/http"
	"slices"

	"github.com/clerksync/clerksync/internal/token"
)

// The headers of an answer that lets a request pass. All are always there: a gateway that
// copies them then overwrites what the client sent under these names.
const (
	headerUserID = "X-Clerk-User-Id"
	headerOrgID  = "X-Clerk-Org-Id" // empty when no organization is selected
	headerRole   = "X-Clerk-Role"   // likewise
)

// authorize answers a gateway whether a request may pass: 204, or the problem. A token
// with an organization is refused when its user is no member, even where none is required:
// the service behind the gateway may read the token itself.
func (h *Handler) authorize(w http.ResponseWriter, r *request) error {
	wanted, err := r.authorization()
	if err != nil {
		return err
	}
	v, err := h.viewer(r, wanted.audience)
	if err != nil {
		return err
	}
	switch {
	case v.OrgID != "" || !wanted.org:
	case wanted.audience != "":
		return errNoOrgClaim
	default:
		return errOrgNotSelected
	}
	var role string
	if err := h.find(r.Context(), v, v.OrgID != "", func(ctx context.Context) (known bool, err error) {
		role, known, err = h.o.Reader.Role(ctx, v)
		return known && (v.OrgID == "" || role != ""), err
	}); err != nil {
		return err
	}
	role = token.NormalRole(role)
	if len(wanted.roles) > 0 && !slices.Contains(wanted.roles, role) {
		return errRoleRequired(wanted.roles, role)
	}
	header := w.Header()
	header.Set(headerUserID, v.UserID)
	header.Set(headerOrgID, v.OrgID)
	header.Set(headerRole, role)
	w.WriteHeader(http.StatusNoContent)
	return nil
}
