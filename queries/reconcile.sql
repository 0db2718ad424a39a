-- name: UserLiveList :many
-- Returns users after an id, and which of them are to be asked for at Clerk: not those that
-- are deleted, nor those that an operator restored, since Clerk does not have them and they
-- are to stay. The next two do the same.
--
-- There is no filter but the id, and each head is looked up by key in a subquery: by a wrong
-- guess of how many rows a filter leaves, the planner would read all rows for every page.
SELECT
    u.clerk_id,
    (
        u.deleted_at IS NULL
        AND (SELECT h.restored_at FROM entity_heads h WHERE h.kind = 'user' AND h.clerk_id = u.clerk_id) IS NULL
    )::boolean AS live
FROM users u
WHERE u.clerk_id > @after
ORDER BY u.clerk_id
LIMIT @max_count;

-- name: OrganizationLiveList :many
SELECT
    o.clerk_id,
    (
        o.deleted_at IS NULL
        AND (SELECT h.restored_at FROM entity_heads h WHERE h.kind = 'organization' AND h.clerk_id = o.clerk_id) IS NULL
    )::boolean AS live
FROM organizations o
WHERE o.clerk_id > @after
ORDER BY o.clerk_id
LIMIT @max_count;

-- name: MembershipLiveList :many
SELECT
    m.clerk_id,
    u.clerk_id AS user_id,
    m.org_id,
    (
        (SELECT h.restored_at FROM entity_heads h WHERE h.kind = 'membership' AND h.clerk_id = m.clerk_id) IS NULL
        AND (SELECT h.restored_at FROM entity_heads h WHERE h.kind = 'user' AND h.clerk_id = u.clerk_id) IS NULL
        AND (SELECT h.restored_at FROM entity_heads h WHERE h.kind = 'organization' AND h.clerk_id = m.org_id) IS NULL
    )::boolean AS live
FROM org_memberships m
JOIN users u ON u.id = m.user_id
WHERE m.clerk_id > @after
ORDER BY m.clerk_id
LIMIT @max_count;

-- name: ReconcileLock :one
-- Takes the lock of the one process that reconciles on a schedule; it ends with the session.
SELECT pg_try_advisory_lock(hashtextextended('clerksync reconcile ' || @schema_name::text, 0)) AS locked;
