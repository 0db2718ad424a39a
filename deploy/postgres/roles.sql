-- Roles for clerksync, for a database of your own:
--
--   clerksync_owner  owns the schema and its tables: for clerksync migrate up
--   clerksync        reads and writes rows, and nothing else: for clerksync serve
--   clerk_reader     what clerksync migrate up --with rls lets read one tenant's rows; no login
--
-- As a superuser, or as the owner of the database with CREATEROLE, connected to the
-- database. It can be run again.
--
--   psql -v ON_ERROR_STOP=1 -d DATABASE -f roles.sql
--
-- Then give both a password: \password clerksync_owner, \password clerksync.

\set schema clerk

SELECT format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', r)
FROM unnest(ARRAY['clerksync_owner', 'clerksync']) AS r
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r)
\gexec

SELECT 'CREATE ROLE clerk_reader NOLOGIN'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'clerk_reader')
\gexec

-- The directory API acts as clerk_reader for a query. The worker, with the same login, must
-- not: NOINHERIT, before the GRANT.
ALTER ROLE clerksync NOINHERIT;
SELECT 'GRANT clerk_reader TO clerksync'
WHERE NOT pg_has_role('clerksync', 'clerk_reader', 'MEMBER')
\gexec

-- Who is no superuser has to be a member of the owner to make something its own.
SELECT 'GRANT clerksync_owner TO CURRENT_USER'
WHERE NOT pg_has_role('clerksync_owner', 'MEMBER')
\gexec

BEGIN;

SELECT format('GRANT CONNECT ON DATABASE %I TO clerksync_owner, clerksync', current_database())
\gexec

CREATE SCHEMA IF NOT EXISTS :"schema" AUTHORIZATION clerksync_owner;
GRANT USAGE ON SCHEMA :"schema" TO clerksync;

-- For present tables and views, and for what later migrations add.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA :"schema" TO clerksync;
ALTER DEFAULT PRIVILEGES FOR ROLE clerksync_owner IN SCHEMA :"schema"
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO clerksync;

-- The lists of applied migrations are only read by serve. They are there after the
-- first migrate up, with and without rls: run this file once more then.
SELECT format('REVOKE INSERT, UPDATE, DELETE ON %I.%I FROM clerksync', :'schema', t)
FROM unnest(ARRAY['clerksync_migrations', 'clerksync_rls_migrations']) AS t
WHERE to_regclass(format('%I.%I', :'schema', t)) IS NOT NULL
\gexec

COMMIT;
