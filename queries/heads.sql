-- name: HeadInsertMany :batchmany
-- Inserts the heads that are missing and returns them. Keys must be unique. ORDER BY is the
-- lock order, without which two batches would deadlock: a batch that meets a head that
-- another one is inserting waits for it.
INSERT INTO entity_heads (kind, clerk_id, deleted, updated_at, event_at, event_id, event_seq, applied_at)
SELECT e.kind, e.clerk_id, e.deleted, e.updated_at, e.event_at, e.event_id, e.event_seq, clock_timestamp()
FROM (
    SELECT
        unnest(@kind::text[]) COLLATE "C" AS kind,
        unnest(@clerk_id::text[]) COLLATE "C" AS clerk_id,
        unnest(@deleted::boolean[]) AS deleted,
        unnest(@updated_at::timestamptz[]) AS updated_at,
        unnest(@event_at::timestamptz[]) AS event_at,
        unnest(@event_id::text[]) AS event_id,
        unnest(@event_seq::bigint[]) AS event_seq
) AS e
ORDER BY e.kind, e.clerk_id
ON CONFLICT (kind, clerk_id) DO NOTHING
RETURNING kind, clerk_id;

-- name: HeadLockMany :batchmany
-- Locks heads in the order of the arrays, which must be the lock order, and returns them.
-- Until the transaction ends, none of them changes; one that is shared, another transaction
-- can share too. It must be a separate statement after HeadInsertMany: only then does it see
-- the heads that another transaction inserted meanwhile. For OFFSET 0 see HeadGetMany; a
-- locking subquery has the same effect.
SELECT h.kind, h.clerk_id, h.deleted, h.updated_at, h.event_at, h.event_id, h.event_seq, h.restored_at,
    (h.erasing OR h.erased_at IS NOT NULL)::boolean AS erased
FROM (
    SELECT
        unnest(@kind::text[]) COLLATE "C" AS kind,
        unnest(@clerk_id::text[]) COLLATE "C" AS clerk_id,
        unnest(@shared::boolean[]) AS shared
) AS e
CROSS JOIN LATERAL (
    SELECT * FROM (SELECT * FROM entity_heads k WHERE NOT e.shared AND k.kind = e.kind AND k.clerk_id = e.clerk_id FOR NO KEY UPDATE) AS own
    UNION ALL
    SELECT * FROM (SELECT * FROM entity_heads k WHERE e.shared AND k.kind = e.kind AND k.clerk_id = e.clerk_id FOR SHARE) AS with_others
) AS h;

-- name: HeadWriteMany :exec
-- Writes heads that HeadLockMany locked: each has a row, ON CONFLICT only finds it by key
-- whatever the planner thinks. lifted tells that the head was a tombstone and is restored.
--
-- An equal version leaves applied_at as it is: it was applied then, and the lag is measured
-- from it. The marks of an erasure are cleared: an event names the person again.
-- restored_at is never before the delete that is lifted, even when this clock is slow.
INSERT INTO entity_heads AS head (kind, clerk_id, deleted, updated_at, event_at, event_id, event_seq, applied_at, restored_at)
SELECT e.kind, e.clerk_id, e.deleted, e.updated_at, e.event_at, e.event_id, e.event_seq, clock_timestamp(), CASE WHEN e.lifted THEN now() END
FROM (
    SELECT
        unnest(@kind::text[]) AS kind,
        unnest(@clerk_id::text[]) AS clerk_id,
        unnest(@deleted::boolean[]) AS deleted,
        unnest(@updated_at::timestamptz[]) AS updated_at,
        unnest(@event_at::timestamptz[]) AS event_at,
        unnest(@event_id::text[]) AS event_id,
        unnest(@event_seq::bigint[]) AS event_seq,
        unnest(@lifted::boolean[]) AS lifted
) AS e
ON CONFLICT (kind, clerk_id) DO UPDATE SET
    deleted = excluded.deleted,
    updated_at = excluded.updated_at,
    event_at = excluded.event_at,
    event_id = excluded.event_id,
    event_seq = excluded.event_seq,
    applied_at = CASE
        WHEN (excluded.deleted, excluded.updated_at, excluded.event_at, excluded.event_id)
            = (head.deleted, head.updated_at, head.event_at, head.event_id) THEN head.applied_at
        ELSE excluded.applied_at
    END,
    erasing = false,
    erased_at = NULL,
    restored_at = CASE
        WHEN excluded.restored_at IS NULL THEN head.restored_at
        ELSE GREATEST(excluded.restored_at, head.event_at, head.restored_at)
    END;

-- name: HeadGetMany :many
-- Returns the heads of the given entities.
--
-- OFFSET 0 keeps the two sides of the join in the order written. While the table is small
-- the planner would read it first, and keep that plan while it grows.
SELECT h.*
FROM (
    SELECT unnest(@kind::text[]) COLLATE "C" AS kind, unnest(@clerk_id::text[]) COLLATE "C" AS clerk_id
) AS e
CROSS JOIN LATERAL (SELECT * FROM entity_heads k WHERE k.kind = e.kind AND k.clerk_id = e.clerk_id OFFSET 0) AS h;

-- name: HeadGet :one
SELECT * FROM entity_heads WHERE kind = @kind AND clerk_id = @clerk_id;
