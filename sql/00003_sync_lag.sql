-- +goose Up

-- The newest reading of the lag: one row, which every worker overwrites.
CREATE TABLE sync_status (
    only_row    boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    measured_at timestamptz NOT NULL, -- by this server's clock
    reading     jsonb       NOT NULL  -- as GET /lag answers
) WITH (fillfactor = 50); -- room for a new version every few seconds in the same page

-- The reading as of now: always one row. Workers measure every few seconds, so a reading
-- that is older than 20 is unknown.
CREATE VIEW sync_lag AS
SELECT
    fresh.yes AND (s.reading ->> 'in_step')::boolean AS in_step,
    CASE WHEN fresh.yes THEN s.reading ->> 'state' ELSE 'unknown' END AS state,
    CASE
        WHEN fresh.yes THEN s.reading ->> 'verdict'
        WHEN s.measured_at IS NULL THEN 'unknown: no worker has measured yet; is one running?'
        ELSE 'unknown: no worker has measured since ' || to_char(s.measured_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC; is one running, and can it write?'
    END AS verdict,
    s.measured_at,
    CASE WHEN fresh.yes THEN (s.reading ->> 'pending')::bigint END AS pending,
    CASE WHEN fresh.yes THEN (s.reading ->> 'in_work')::bigint END AS in_work,
    -- Events that waited then, and are not known to be applied, still wait.
    CASE
        WHEN NOT fresh.yes AND (s.reading ->> 'pending')::bigint = 0 THEN NULL -- events may have been stored since
        WHEN (s.reading ->> 'pending')::bigint = 0 THEN 0
        ELSE (s.reading ->> 'oldest_pending_age_seconds')::double precision
            + greatest(extract(epoch FROM clock_timestamp() - s.measured_at), 0)::double precision
    END AS oldest_pending_age_seconds,
    (s.reading ->> 'last_event_received_at')::timestamptz AS last_event_received_at,
    (s.reading #>> '{silence,limit_seconds}')::double precision AS silence_limit_seconds,
    (s.reading #>> '{delivery_seconds,p50}')::double precision AS delivery_p50_seconds,
    (s.reading #>> '{delivery_seconds,p99}')::double precision AS delivery_p99_seconds,
    (s.reading #>> '{queue_seconds,p50}')::double precision AS queue_p50_seconds,
    (s.reading #>> '{queue_seconds,p99}')::double precision AS queue_p99_seconds,
    (s.reading #>> '{end_to_end_seconds,p50}')::double precision AS end_to_end_p50_seconds,
    (s.reading #>> '{end_to_end_seconds,p99}')::double precision AS end_to_end_p99_seconds,
    (s.reading ->> 'dead_letters')::bigint AS dead_letters
FROM (VALUES (true)) AS one (row)
LEFT JOIN sync_status AS s ON s.only_row = one.row
CROSS JOIN LATERAL (SELECT coalesce(s.measured_at > clock_timestamp() - interval '20 seconds', false)) AS fresh (yes);

-- The lag of every row, and the event that made it.
CREATE VIEW entity_freshness AS
SELECT
    kind,
    clerk_id,
    deleted,
    event_seq,
    event_id AS svix_id,
    event_at AS emitted_at,
    applied_at,
    extract(epoch FROM applied_at - event_at)::double precision AS end_to_end_seconds
FROM entity_heads
WHERE kind <> 'seat' AND event_id <> '';

-- +goose Down
DROP VIEW entity_freshness;
DROP VIEW sync_lag;
DROP TABLE sync_status;
