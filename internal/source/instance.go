package source

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
)

// StrangersError means that the secret key seems to be of another instance than the rows:
// Clerk does not have any of the users that it was asked for.
type StrangersError struct {
	InstanceID string // of the key
	Users      int    // of the tables, that Clerk was asked for
}

func (e *StrangersError) Error() string {
	return fmt.Sprintf("the secret key is of instance %s, which has none of %d users of this database", e.InstanceID, e.Users)
}

// identify returns the instance of the key, when the tables are of the same. The pinned
// one, if any, is the word of the operator: the error is then [ErrInstance] for another.
// Otherwise Clerk has to have one of the users in the tables, and the error is
// [*StrangersError]. Tables without users can be of any instance.
func identify(ctx context.Context, c *Client, st *store.Store, pinned string) (string, error) {
	id, err := c.Instance(ctx, pinned)
	if err != nil || pinned != "" {
		return id, err
	}
	var users []store.Live
	for after := ""; len(users) == 0; {
		if users, after, err = st.LiveAfter(ctx, clerk.KindUser, after, liveAtOnce); err != nil {
			return "", err
		}
		if after == "" {
			return id, nil
		}
	}
	users = users[:min(len(users), idsAtOnce)]
	ids := make([]string, len(users))
	for i, u := range users {
		ids[i] = u.ID
	}
	there, err := present(ctx, c, clerk.KindUser, ids)
	if err == nil && len(there) == 0 {
		err = &StrangersError{id, len(ids)}
	}
	return id, err
}

// present returns which of up to [idsAtOnce] users or organizations Clerk has.
func present(ctx context.Context, c *Client, kind clerk.Kind, ids []string) (map[string]bool, error) {
	parameter := map[clerk.Kind]string{clerk.KindUser: "user_id", clerk.KindOrganization: "organization_id"}[kind]
	var answer list
	if err := c.get(ctx, paths[kind], url.Values{parameter: ids, "limit": {strconv.Itoa(idsAtOnce)}}, &answer); err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, data := range answer.items {
		var named struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(data, &named); err != nil {
			return nil, fmt.Errorf("GET %s: %w", paths[kind], errUnreadable)
		}
		there[named.ID] = true
	}
	return there, nil
}
