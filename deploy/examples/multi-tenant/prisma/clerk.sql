-- The tables of clerksync, by "clerksync schema sql": run it again after an upgrade of clerksync.
--
-- For tools that read DDL (sqlc, jOOQ), for a test database of your application, and for
-- Prisma's shadow database. Not for the database that clerksync writes: its tables are made
-- by clerksync migrate up, and have columns and indexes of its own besides.

CREATE SCHEMA IF NOT EXISTS "clerk";

-- A user. Of one that was deleted in Clerk, only id, clerk_id and deleted_at are left: your foreign keys hold.
CREATE TABLE "clerk".users (
    -- Made from clerk_id: the same after a rebuild of the tables.
    id              uuid             PRIMARY KEY,
    -- user_…, the claim sub of a session token.
    clerk_id        text COLLATE "C" NOT NULL UNIQUE,
    -- The primary address, for the one user that holds it. NULL while another user holds it, and without an address.
    email           text,
    -- The primary address as Clerk has it: two users can claim one.
    primary_email   text,
    email_verified  boolean          NOT NULL DEFAULT false,
    -- First and last name.
    name            text,
    first_name      text,
    last_name       text,
    username        text,
    phone_number    text,
    image_url       text,
    -- Your own id of the user, if you set one in Clerk.
    external_id     text,
    public_metadata jsonb            NOT NULL DEFAULT '{}',
    banned          boolean          NOT NULL DEFAULT false,
    locked          boolean          NOT NULL DEFAULT false,
    deprovisioned   boolean          NOT NULL DEFAULT false,
    last_sign_in_at timestamptz,
    -- The whole data of the newest event, with private metadata.
    raw             jsonb,
    -- Clerk's time. NULL until an event of the user itself has arrived.
    created_at      timestamptz,
    -- Clerk's time.
    updated_at      timestamptz,
    -- When the user was deleted in Clerk. NULL for all others.
    deleted_at      timestamptz
);

CREATE UNIQUE INDEX users_email_key ON "clerk".users (email) WHERE email IS NOT NULL;

-- An organization. Of one that was deleted in Clerk, only id, clerk_id and deleted_at are left: your foreign keys hold.
CREATE TABLE "clerk".organizations (
    -- Made from clerk_id: the same after a rebuild of the tables.
    id              uuid             PRIMARY KEY,
    -- org_…, the claim o.id of a session token.
    clerk_id        text COLLATE "C" NOT NULL UNIQUE,
    name            text,
    -- Not unique: that of a deleted organization can be used again.
    slug            text,
    image_url       text,
    -- The Clerk id of a user.
    created_by      text,
    public_metadata jsonb            NOT NULL DEFAULT '{}',
    -- The whole data of the newest event, with private metadata.
    raw             jsonb,
    -- Clerk's time. NULL until an event of the organization itself has arrived.
    created_at      timestamptz,
    -- Clerk's time.
    updated_at      timestamptz,
    -- When the organization was deleted in Clerk. NULL for all others.
    deleted_at      timestamptz
);

-- The place of a user in an organization. A membership that has ended has no row.
CREATE TABLE "clerk".org_memberships (
    -- Made from clerk_id: the same after a rebuild of the tables.
    id              uuid             PRIMARY KEY,
    -- orgmem_…
    clerk_id        text COLLATE "C" NOT NULL UNIQUE,
    user_id         uuid             NOT NULL REFERENCES "clerk".users (id),
    -- The Clerk id of the organization, the claim o.id of a session token.
    org_id          text COLLATE "C" NOT NULL REFERENCES "clerk".organizations (clerk_id),
    -- As Clerk's webhooks write it, org:admin; the claim o.rol is without the prefix.
    role            text             NOT NULL,
    permissions     text[]           NOT NULL DEFAULT '{}',
    public_metadata jsonb            NOT NULL DEFAULT '{}',
    -- Clerk's time.
    created_at      timestamptz,
    -- Clerk's time.
    updated_at      timestamptz,
    UNIQUE (user_id, org_id)
);

CREATE INDEX org_memberships_org_id_idx ON "clerk".org_memberships (org_id);

-- Without the rows of what was deleted in Clerk.
CREATE VIEW "clerk".active_users WITH (security_invoker = true) AS SELECT * FROM "clerk".users WHERE deleted_at IS NULL;

-- Without the rows of what was deleted in Clerk.
CREATE VIEW "clerk".active_organizations WITH (security_invoker = true) AS SELECT * FROM "clerk".organizations WHERE deleted_at IS NULL;
