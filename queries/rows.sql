-- name: RowGetMany :many
-- Returns the rows of entities as JSON objects, their columns in the order of the table.
-- That of a membership ends with the Clerk id of its user. For OFFSET 0 see HeadGetMany.
SELECT e.kind::text AS kind, e.clerk_id::text AS clerk_id, r.columns
FROM (
    SELECT unnest(@kind::text[]) COLLATE "C" AS kind, unnest(@clerk_id::text[]) COLLATE "C" AS clerk_id
) AS e
CROSS JOIN LATERAL (
    SELECT to_json(u) AS columns FROM users u WHERE e.kind = 'user' AND u.clerk_id = e.clerk_id
    UNION ALL
    SELECT to_json(o) FROM organizations o WHERE e.kind = 'organization' AND o.clerk_id = e.clerk_id
    UNION ALL
    SELECT to_json(m)
    FROM (SELECT s.*, u.clerk_id AS user_clerk_id FROM org_memberships s JOIN users u ON u.id = s.user_id) AS m
    WHERE e.kind = 'membership' AND m.clerk_id = e.clerk_id
    OFFSET 0
) AS r;
