-- +goose Up

-- A page of the members of an organization is read in order, by the membership's id, from
-- where the page before ended. Without the id in the index, each page sorted all members.
CREATE INDEX org_memberships_org_id_clerk_id_idx ON org_memberships (org_id, clerk_id);

-- The new one serves its lookups too.
DROP INDEX org_memberships_org_id_idx;

-- +goose Down
CREATE INDEX org_memberships_org_id_idx ON org_memberships (org_id);
DROP INDEX org_memberships_org_id_clerk_id_idx;
