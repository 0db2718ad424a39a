-- name: HeadAppliedMany :many
-- Returns when the given events were applied, for those that are still the newest of their
-- entity. For OFFSET 0 see HeadGetMany.
SELECT h.event_seq, h.applied_at
FROM (
    SELECT
        unnest(@kind::text[]) COLLATE "C" AS kind,
        unnest(@clerk_id::text[]) COLLATE "C" AS clerk_id,
        unnest(@event_seq::bigint[]) AS event_seq
) AS e
CROSS JOIN LATERAL (
    SELECT * FROM entity_heads k WHERE k.kind = e.kind AND k.clerk_id = e.clerk_id AND k.event_seq = e.event_seq OFFSET 0
) AS h;

-- name: SyncStatusWrite :exec
INSERT INTO sync_status (measured_at, reading)
VALUES (clock_timestamp(), @reading)
ON CONFLICT (only_row) DO UPDATE SET measured_at = excluded.measured_at, reading = excluded.reading;
