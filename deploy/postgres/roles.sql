-- Two roles for clerksync, for a database of your own:
--
--   clerksync_owner  owns the schema and its tables: for clerksync migrate up
--   clerksync        reads and writes rows, and nothing else: for clerksync serve
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

-- The list of applied migrations is only read by serve. It is there after the
-- first migrate up: run this file once more then.
SELECT format('REVOKE INSERT, UPDATE, DELETE ON %I.clerksync_migrations FROM clerksync', :'schema')
WHERE to_regclass(format('%I.clerksync_migrations', :'schema')) IS NOT NULL
\gexec

COMMIT;
