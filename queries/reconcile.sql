-- name: UserLiveList :many
-- Returns the live users after an id, to ask Clerk whether they still exist. Those that an
-- operator restored are left out: Clerk does not have them, and they are to stay. The next
-- two do the same.
SELECT u.clerk_id
FROM users u
WHERE u.deleted_at IS NULL AND u.clerk_id > @after
    AND NOT EXISTS (SELECT 1 FROM entity_heads h WHERE h.kind = 'user' AND h.clerk_id = u.clerk_id AND h.restored_at IS NOT NULL)
ORDER BY u.clerk_id
LIMIT @max_count;

-- name: OrganizationLiveList :many
SELECT o.clerk_id
FROM organizations o
WHERE o.deleted_at IS NULL AND o.clerk_id > @after
    AND NOT EXISTS (SELECT 1 FROM entity_heads h WHERE h.kind = 'organization' AND h.clerk_id = o.clerk_id AND h.restored_at IS NOT NULL)
ORDER BY o.clerk_id
LIMIT @max_count;

-- name: MembershipLiveList :many
SELECT m.clerk_id, u.clerk_id AS user_id, m.org_id
FROM org_memberships m
JOIN users u ON u.id = m.user_id
WHERE m.clerk_id > @after
    AND NOT EXISTS (
        SELECT 1 FROM entity_heads h
        WHERE h.restored_at IS NOT NULL
            AND (h.kind, h.clerk_id) IN (('membership', m.clerk_id), ('user', u.clerk_id), ('organization', m.org_id))
    )
ORDER BY m.clerk_id
LIMIT @max_count;

-- name: ReconcileLock :one
-- Takes the lock of the one process that reconciles on a schedule; it ends with the session.
SELECT pg_try_advisory_lock(hashtextextended('clerksync reconcile ' || @schema_name::text, 0)) AS locked;
