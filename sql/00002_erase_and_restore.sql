-- +goose Up

ALTER TABLE entity_heads
    -- Of the tombstone of a user: an erasure has begun, and no event that names the
    -- person was applied since.
    ADD COLUMN erasing boolean NOT NULL DEFAULT false,
    -- Of the tombstone of a user: since then the log holds nothing about the person.
    -- An event that names the person makes it NULL again, so that the sweeper comes
    -- again.
    ADD COLUMN erased_at timestamptz,
    -- An operator lifted a tombstone then: a delete that Clerk emitted before does not
    -- count again.
    ADD COLUMN restored_at timestamptz;

-- For the sweeper: the deleted users that are not erased yet. applied_at, by which it
-- chooses, is no part of the index on purpose: nearly every update of a head changes
-- it, and would then have to touch every index of the table.
CREATE INDEX entity_heads_to_erase_idx ON entity_heads (clerk_id) WHERE kind = 'user' AND deleted AND erased_at IS NULL;

-- +goose Down
DROP INDEX entity_heads_to_erase_idx;
ALTER TABLE entity_heads DROP COLUMN erasing, DROP COLUMN erased_at, DROP COLUMN restored_at;
