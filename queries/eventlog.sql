-- name: EventLogCreate :execrows
-- Records the log that the rows come from, unless one is recorded.
INSERT INTO event_log (log_id, settled, deliveries) VALUES (@log_id, @settled, @deliveries)
ON CONFLICT (only_row) DO NOTHING;

-- name: EventLogGet :one
SELECT * FROM event_log;

-- name: EventLogLock :one
-- Locks the row against another worker's observation and against an erasure that is noted.
SELECT * FROM event_log FOR UPDATE;

-- name: EventLogUpdate :exec
UPDATE event_log SET
    settled = @settled, deliveries = @deliveries, erased = @erased,
    lost_events = @lost_events, lost_from = @lost_from, lost_to = @lost_to, lost_since = @lost_since;

-- name: EventLogErase :exec
-- Notes that an erasure removes these events.
UPDATE event_log AS l SET erased = ARRAY(
    SELECT DISTINCT e FROM unnest(l.erased || @seqs::bigint[]) AS e WHERE e > l.settled ORDER BY e
);

-- name: EventLogAcknowledge :execrows
-- Forgets the lost events, unless more were lost than those up to lost_to.
UPDATE event_log SET lost_events = 0, lost_from = 0, lost_to = 0, lost_since = NULL WHERE lost_to <= @lost_to;

-- name: EventLogForget :execrows
DELETE FROM event_log;
