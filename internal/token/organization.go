package token

import (
	"math/big"
	"strings"

	"github.com/clerksync/clerksync/internal/clerk"
)

// Org is the organization that the user has selected.
type Org struct {
	ID          string
	Slug        string   // "" when the token has none
	Role        string   // as webhooks have it: org:admin
	Permissions []string // org:feature:permission; Clerk leaves its own out (org:sys_…)
}

const rolePrefix = "org:"

// NormalRole returns a role as webhooks and the tables have it: org:admin also for the
// admin of a version 2 token.
func NormalRole(role string) string {
	if role == "" || strings.HasPrefix(role, rolePrefix) {
		return role
	}
	return rolePrefix + role
}

// validRole reports whether a role is one, or none: a JWT template may leave it out.
func validRole(role string) bool {
	return role == "" || clerk.ValidToken(strings.TrimPrefix(role, rolePrefix))
}

// permissions returns the permissions of a version 2 token. It lists the features of the
// organization, the names of all permissions, and for each feature a decimal mask over
// these names, which can exceed 64 bits. A mask that is no such number grants nothing and
// does no more harm: Clerk has sent negative ones, and a user with fewer permissions is
// better served than one who is locked out (clerk/javascript #9381, clerk-sdk-python #250).
func permissions(features, names, masks string) []string {
	if names == "" || masks == "" {
		return nil
	}
	var granted []string
	all, ofFeature := strings.Split(names, ","), strings.Split(masks, ",")
	for _, feature := range strings.Split(features, ",") {
		scope, feature, _ := strings.Cut(strings.TrimSpace(feature), ":")
		if !strings.Contains(scope, "o") { // o, and uo for one of users too
			continue
		}
		if len(ofFeature) == 0 {
			break
		}
		mask := parseMask(strings.TrimSpace(ofFeature[0]))
		ofFeature = ofFeature[1:]
		for i, name := range all {
			if mask.Bit(i) == 1 {
				granted = append(granted, rolePrefix+feature+":"+strings.TrimSpace(name))
			}
		}
	}
	return granted
}

// parseMask returns 0 for anything but decimal digits.
func parseMask(digits string) *big.Int {
	mask := new(big.Int)
	if strings.Trim(digits, "0123456789") != "" {
		return mask
	}
	if _, ok := mask.SetString(digits, 10); !ok { // empty
		return new(big.Int)
	}
	return mask
}
