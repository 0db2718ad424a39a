-- +goose Up

-- The newest version applied of every entity: the one gate of ordering. Every batch
-- advances the heads first and writes rows only for keys that won.
--
-- kind 'seat' is one user in one organization, clerk_id '<user>/<organization>'. Its
-- version is that of the newest membership seen for it, by creation, and its event_id is
-- that membership's Clerk id: only this one may have a row in org_memberships.
--
-- A deleted head is a tombstone. It is kept forever: Clerk never reuses an id, and a late
-- event must not restore the entity.
CREATE TABLE entity_heads (
    kind       text        COLLATE "C" NOT NULL CHECK (kind IN ('user', 'organization', 'membership', 'seat')),
    clerk_id   text        COLLATE "C" NOT NULL,
    -- The version, compared left to right. The epoch and '' are version zero, of a stub.
    deleted    boolean     NOT NULL,
    updated_at timestamptz NOT NULL,
    event_at   timestamptz NOT NULL,
    event_id   text        COLLATE "C" NOT NULL,
    -- The sequence of the event in the log, and when it was applied.
    event_seq  bigint      NOT NULL,
    applied_at timestamptz NOT NULL,
    PRIMARY KEY (kind, clerk_id)
) WITH (fillfactor = 80); -- room for updates in the same page, which touch no index

CREATE TABLE users (
    id              uuid        PRIMARY KEY, -- UUIDv5 of clerk_id
    clerk_id        text        COLLATE "C" NOT NULL CONSTRAINT users_clerk_id_key UNIQUE,
    email           text,                    -- primary_email, for the one user that holds it
    primary_email   text,                    -- the address that the user claims
    email_verified  boolean     NOT NULL DEFAULT false,
    name            text,
    first_name      text,
    last_name       text,
    username        text,
    phone_number    text,
    image_url       text,
    external_id     text,
    public_metadata jsonb       NOT NULL DEFAULT '{}',
    banned          boolean     NOT NULL DEFAULT false,
    locked          boolean     NOT NULL DEFAULT false,
    deprovisioned   boolean     NOT NULL DEFAULT false,
    last_sign_in_at timestamptz,
    raw             jsonb,                   -- the whole data of the newest event
    created_at      timestamptz,             -- these are Clerk's times
    updated_at      timestamptz,
    deleted_at      timestamptz
);

-- Partial, though NULLs never collide: a foreign key could refer to a full unique index, so
-- an update of the column would block the foreign key checks of memberships, and two
-- batches that trade addresses could deadlock.
CREATE UNIQUE INDEX users_email_key ON users (email) WHERE email IS NOT NULL;

-- For the users that claim an address.
CREATE INDEX users_primary_email_idx ON users (primary_email) WHERE primary_email IS NOT NULL;

CREATE TABLE organizations (
    id              uuid        PRIMARY KEY, -- UUIDv5 of clerk_id
    clerk_id        text        COLLATE "C" NOT NULL CONSTRAINT organizations_clerk_id_key UNIQUE,
    name            text,
    slug            text,                    -- not unique: a deleted organization's can be reused
    image_url       text,
    created_by      text,                    -- Clerk id of a user
    public_metadata jsonb       NOT NULL DEFAULT '{}',
    raw             jsonb,
    created_at      timestamptz,
    updated_at      timestamptz,
    deleted_at      timestamptz
);

-- A removed membership has no row: a query that forgets a filter must never let
-- someone in.
CREATE TABLE org_memberships (
    id              uuid        PRIMARY KEY, -- UUIDv5 of clerk_id
    clerk_id        text        COLLATE "C" NOT NULL CONSTRAINT org_memberships_clerk_id_key UNIQUE,
    user_id         uuid        NOT NULL REFERENCES users (id),
    org_id          text        COLLATE "C" NOT NULL REFERENCES organizations (clerk_id),
    role            text        NOT NULL,    -- as Clerk writes it, "org:admin"
    permissions     text[]      NOT NULL DEFAULT '{}',
    public_metadata jsonb       NOT NULL DEFAULT '{}',
    created_at      timestamptz,
    updated_at      timestamptz,
    CONSTRAINT org_memberships_user_id_org_id_key UNIQUE (user_id, org_id)
);

CREATE INDEX org_memberships_org_id_idx ON org_memberships (org_id);

-- Users and organizations without the tombstones.
CREATE VIEW active_users AS SELECT * FROM users WHERE deleted_at IS NULL;
CREATE VIEW active_organizations AS SELECT * FROM organizations WHERE deleted_at IS NULL;

-- +goose Down
DROP VIEW active_organizations;
DROP VIEW active_users;
DROP TABLE org_memberships;
DROP TABLE organizations;
DROP TABLE users;
DROP TABLE entity_heads;
