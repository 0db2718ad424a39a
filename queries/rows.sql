-- name: RowGetMany :many
-- The rows of the given entities as JSON objects, the columns in the order of the
-- table.
SELECT 'user' AS kind, u.clerk_id, to_json(u) AS columns FROM users u WHERE u.clerk_id = ANY(@user_id::text[])
UNION ALL
SELECT 'organization', o.clerk_id, to_json(o) FROM organizations o WHERE o.clerk_id = ANY(@organization_id::text[])
UNION ALL
SELECT 'membership', m.clerk_id, to_json(m) FROM org_memberships m WHERE m.clerk_id = ANY(@membership_id::text[]);
