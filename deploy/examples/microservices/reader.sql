-- The role that the services read the synced rows with: these columns and no others, so
-- neither e-mail addresses nor the raw payloads.
--
--   psql "$DATABASE_URL" -f reader.sql
--   psql "$DATABASE_URL" -c '\password services'
CREATE ROLE services LOGIN;
GRANT USAGE ON SCHEMA clerk TO services;
GRANT SELECT (id, clerk_id, name, banned, deprovisioned) ON clerk.users TO services;
GRANT SELECT (clerk_id, name) ON clerk.organizations TO services;
GRANT SELECT (user_id, org_id, role) ON clerk.org_memberships TO services;
