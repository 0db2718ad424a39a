-- +goose Up

-- One user's place in one organization: of all memberships ever seen for it, the one that
-- was created last. Only this one may have a row in org_memberships. A seat outlives its
-- membership: a late event of an earlier one must not take it.
CREATE TABLE seats (
    user_id               text        COLLATE "C" NOT NULL, -- Clerk ids
    org_id                text        COLLATE "C" NOT NULL,
    membership_id         text        COLLATE "C" NOT NULL,
    membership_created_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, org_id)
);

-- They were heads of a kind of their own.
WITH gone AS (DELETE FROM entity_heads WHERE kind = 'seat' RETURNING clerk_id, event_id, updated_at)
INSERT INTO seats SELECT split_part(clerk_id, '/', 1), split_part(clerk_id, '/', 2), event_id, updated_at FROM gone;

-- +goose Down
INSERT INTO entity_heads (kind, clerk_id, deleted, updated_at, event_at, event_id, event_seq, applied_at)
SELECT 'seat', user_id || '/' || org_id, false, membership_created_at, to_timestamp(0), membership_id, 0, now() FROM seats;
DROP TABLE seats;
