-- name: HeadAdvanceMany :many
-- The gate: of the given versions, those win that are greater than the head.
-- The keys are given once each.
--
-- ON CONFLICT DO UPDATE locks the rows of the losers too, so that after this
-- statement nobody else can change the head of any of these entities, among
-- them the parents, until the transaction ends. ORDER BY makes everybody take
-- the locks in one order, without which two batches would deadlock.
INSERT INTO entity_heads AS head (kind, clerk_id, deleted, updated_at, event_at, event_id, event_seq, applied_at)
SELECT e.kind, e.clerk_id, e.deleted, e.updated_at, e.event_at, e.event_id, e.event_seq, clock_timestamp()
FROM (
    SELECT
        unnest(@kinds::text[]) COLLATE "C" AS kind,
        unnest(@clerk_ids::text[]) COLLATE "C" AS clerk_id,
        unnest(@deleteds::boolean[]) AS deleted,
        unnest(@updated_ats::timestamptz[]) AS updated_at,
        unnest(@event_ats::timestamptz[]) AS event_at,
        unnest(@event_ids::text[]) AS event_id,
        unnest(@event_seqs::bigint[]) AS event_seq
) AS e
ORDER BY e.kind, e.clerk_id
ON CONFLICT (kind, clerk_id) DO UPDATE SET
    deleted = excluded.deleted,
    updated_at = excluded.updated_at,
    event_at = excluded.event_at,
    event_id = excluded.event_id,
    event_seq = excluded.event_seq,
    applied_at = excluded.applied_at
WHERE (excluded.deleted, excluded.updated_at, excluded.event_at, excluded.event_id)
    > (head.deleted, head.updated_at, head.event_at, head.event_id)
RETURNING kind, clerk_id;

-- name: HeadGetMany :many
-- The heads of the given entities: it tells a loser that is stale from one that
-- is a duplicate.
--
-- OFFSET 0 keeps the two sides of the join as they are written. While the table is
-- small the planner would turn them round, to read the table first, and the plan
-- would be kept while it grows.
SELECT h.*
FROM (
    SELECT unnest(@kinds::text[]) COLLATE "C" AS kind, unnest(@clerk_ids::text[]) COLLATE "C" AS clerk_id
) AS e
CROSS JOIN LATERAL (SELECT * FROM entity_heads k WHERE k.kind = e.kind AND k.clerk_id = e.clerk_id OFFSET 0) AS h;

-- name: HeadGet :one
SELECT * FROM entity_heads WHERE kind = @kind AND clerk_id = @clerk_id;
