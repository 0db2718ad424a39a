-- +goose Up

-- The event log that the rows come from, and how far it was applied when a worker last
-- observed it: one row, made when the first worker starts.
CREATE TABLE event_log (
    only_row    boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    log_id      text        NOT NULL,
    -- Every event up to this sequence is applied or parked, and the consumer had counted so
    -- many deliveries then. A sequence that the consumer passes later without a delivery
    -- left the log before it was applied.
    settled     bigint      NOT NULL,
    deliveries  bigint      NOT NULL,
    -- Sequences after settled that an erasure removes: their events are not lost.
    erased      bigint[]    NOT NULL DEFAULT '{}',
    -- How many events left the log before they were applied, the range that they are in, and
    -- when that was noticed; 0 and NULL when there are none, or an operator acknowledged it.
    lost_events bigint      NOT NULL DEFAULT 0,
    lost_from   bigint      NOT NULL DEFAULT 0,
    lost_to     bigint      NOT NULL DEFAULT 0,
    lost_since  timestamptz
) WITH (fillfactor = 50); -- room for a new version every few seconds in the same page

-- +goose Down
DROP TABLE event_log;
