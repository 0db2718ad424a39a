-- name: MembershipDeleteMany :exec
-- Removes memberships that are no longer live: deleted themselves, or with their user or
-- organization.
DELETE FROM org_memberships m
WHERE m.clerk_id = ANY(@clerk_id::text[])
    OR m.user_id = ANY(@user_id::uuid[])
    OR m.org_id = ANY(@org_id::text[]);

-- name: MembershipDeleteSupersededMany :exec
-- Removes memberships that lost their seat to a newer one: the user left and re-joined, and
-- the delete of the old membership is late or was lost.
DELETE FROM org_memberships
WHERE id = ANY(ARRAY(
    SELECT m.id
    FROM (
        SELECT
            unnest(@user_id::uuid[]) AS user_id,
            unnest(@org_id::text[]) COLLATE "C" AS org_id,
            unnest(@clerk_id::text[]) COLLATE "C" AS clerk_id
    ) AS newest
    CROSS JOIN LATERAL ( -- for OFFSET 0 see HeadGetMany
        SELECT o.id FROM org_memberships o
        WHERE o.user_id = newest.user_id AND o.org_id = newest.org_id AND o.clerk_id <> newest.clerk_id
        OFFSET 0
    ) AS m
));

-- name: MembershipUpsertMany :exec
-- Writes memberships whose heads were advanced in this transaction, whose user and
-- organization are live and locked, and which have the seat.
--
-- permissions is a JSON array, since PostgreSQL's arrays of arrays must be rectangular.
INSERT INTO org_memberships (id, clerk_id, user_id, org_id, role, permissions, public_metadata, created_at, updated_at)
SELECT
    m.id, m.clerk_id, m.user_id, m.org_id, m.role, ARRAY(SELECT jsonb_array_elements_text(m.permissions)),
    m.public_metadata, NULLIF(m.created_at, to_timestamp(0)), NULLIF(m.updated_at, to_timestamp(0))
FROM (
    SELECT
        unnest(@id::uuid[]) AS id,
        unnest(@clerk_id::text[]) COLLATE "C" AS clerk_id,
        unnest(@user_id::uuid[]) AS user_id,
        unnest(@org_id::text[]) COLLATE "C" AS org_id,
        unnest(@role::text[]) AS role,
        unnest(@permissions::jsonb[]) AS permissions,
        unnest(@public_metadata::jsonb[]) AS public_metadata,
        unnest(@created_at::timestamptz[]) AS created_at,
        unnest(@updated_at::timestamptz[]) AS updated_at
) AS m
ON CONFLICT (clerk_id) DO UPDATE SET
    user_id = excluded.user_id,
    org_id = excluded.org_id,
    role = excluded.role,
    permissions = excluded.permissions,
    public_metadata = excluded.public_metadata,
    created_at = excluded.created_at,
    updated_at = excluded.updated_at;

-- name: MembershipGet :one
-- Returns the Clerk ids of the user and the organization.
SELECT u.clerk_id AS user_id, m.org_id
FROM org_memberships m
JOIN users u ON u.id = m.user_id
WHERE m.clerk_id = @clerk_id;
