-- +goose Up

ALTER TABLE entity_heads
    -- Of a user's tombstone: an erasure has begun, and no event that names the person was
    -- applied since.
    ADD COLUMN erasing boolean NOT NULL DEFAULT false,
    -- Of a user's tombstone: since then the log holds nothing about the person. An event
    -- that names the person sets it to NULL, so that the sweeper erases again.
    ADD COLUMN erased_at timestamptz,
    -- When an operator lifted the tombstone: a delete that Clerk emitted before does not
    -- count again.
    ADD COLUMN restored_at timestamptz;

-- For the sweeper: the deleted users that are not erased. It selects by applied_at, which
-- is not in the index on purpose: nearly every update of a head changes it, and would then
-- have to touch every index of the table.
CREATE INDEX entity_heads_to_erase_idx ON entity_heads (clerk_id) WHERE kind = 'user' AND deleted AND erased_at IS NULL;

-- +goose Down
DROP INDEX entity_heads_to_erase_idx;
ALTER TABLE entity_heads DROP COLUMN erasing, DROP COLUMN erased_at, DROP COLUMN restored_at;
