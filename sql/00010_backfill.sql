-- +goose Up

-- The backfill that is under way: one row, removed when it has ended. A process that goes
-- on with it must read the same Clerk instance and store into the same event log.
CREATE TABLE backfill_run (
    only_row    boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    instance_id text        NOT NULL,
    log_id      text        NOT NULL,
    started_at  timestamptz NOT NULL
);

-- Its checkpoints: what is before a position is durable in the event log.
CREATE TABLE backfill_segments (
    kind        text        NOT NULL,
    segment     integer     NOT NULL,
    position    jsonb       NOT NULL, -- of the next page
    read        bigint      NOT NULL DEFAULT 0, -- distinct entities before the position
    refused     bigint      NOT NULL DEFAULT 0, -- of those, how many no event can hold
    done        boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (kind, segment)
);

-- How many members Clerk counts in an organization, and how many memberships were read:
-- where the two differ, the pages left some out.
CREATE TABLE backfill_organizations (
    clerk_id    text COLLATE "C" PRIMARY KEY,
    members     bigint, -- NULL until the organization is read
    read        bigint      NOT NULL DEFAULT 0
);

-- +goose Down
DROP TABLE backfill_organizations;
DROP TABLE backfill_segments;
DROP TABLE backfill_run;
