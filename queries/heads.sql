-- name: HeadAdvanceMany :many
-- The gate: advances the heads to the given versions that are greater and, with reapply,
-- to equal ones too, and returns those that win. A delete from before the entity was
-- restored does not win; Go's head.lifted has the same rule, and Version.Compare the same
-- order: they must agree. Keys must be unique.
--
-- An equal version leaves applied_at as it is: it was applied then, and the lag is measured
-- from it.
--
-- ON CONFLICT DO UPDATE locks the rows of losers too: after this statement no other
-- transaction can change the heads of these entities, parents included, until this one
-- ends. ORDER BY is the lock order, without which two batches would deadlock.
--
-- A head with erasing or erased_at never advances here. It is returned with erased: the
-- event names the person, so EraseUndoMany must clear the marks before the key passes the
-- gate again.
INSERT INTO entity_heads AS head (kind, clerk_id, deleted, updated_at, event_at, event_id, event_seq, applied_at)
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
ON CONFLICT (kind, clerk_id) DO UPDATE SET
    deleted = CASE WHEN head.erasing OR head.erased_at IS NOT NULL THEN head.deleted ELSE excluded.deleted END,
    updated_at = CASE WHEN head.erasing OR head.erased_at IS NOT NULL THEN head.updated_at ELSE excluded.updated_at END,
    event_at = CASE WHEN head.erasing OR head.erased_at IS NOT NULL THEN head.event_at ELSE excluded.event_at END,
    event_id = CASE WHEN head.erasing OR head.erased_at IS NOT NULL THEN head.event_id ELSE excluded.event_id END,
    event_seq = CASE WHEN head.erasing OR head.erased_at IS NOT NULL THEN head.event_seq ELSE excluded.event_seq END,
    applied_at = CASE
        WHEN head.erasing OR head.erased_at IS NOT NULL
            OR (excluded.deleted, excluded.updated_at, excluded.event_at, excluded.event_id)
            = (head.deleted, head.updated_at, head.event_at, head.event_id) THEN head.applied_at
        ELSE excluded.applied_at
    END,
    erasing = head.erasing OR head.erased_at IS NOT NULL
WHERE (excluded.deleted, excluded.updated_at, excluded.event_at, excluded.event_id, @reapply::boolean)
    > (head.deleted, head.updated_at, head.event_at, head.event_id, false)
    AND (excluded.deleted AND excluded.event_at <= head.restored_at) IS NOT TRUE
    OR head.erasing OR head.erased_at IS NOT NULL
RETURNING kind, clerk_id, erasing AS erased;

-- name: HeadGetMany :many
-- Returns the heads of the given entities: they tell stale from duplicate.
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

-- name: HeadLowerMany :exec
-- Lowers heads to version zero, so that the next event of any version wins, and lifts the
-- tombstones among them. HeadAdvanceMany must have locked them.
--
-- restored_at is never before the delete that is lifted, even when this clock is slow.
UPDATE entity_heads SET
    deleted = false,
    updated_at = to_timestamp(0),
    event_at = to_timestamp(0),
    event_id = '',
    restored_at = CASE WHEN deleted THEN GREATEST(now(), event_at, restored_at) ELSE restored_at END
WHERE kind = @kind AND clerk_id = ANY(@clerk_id::text[]);
