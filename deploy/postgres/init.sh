#!/bin/sh
# Run by the PostgreSQL image once, when its data volume is new: a database for
# clerksync, a role that owns the schema of its tables and nothing else, and the one that
# clerksync migrate up --with rls lets read one tenant's rows.
set -eu

psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\getenv password CLERKSYNC_DB_PASSWORD
CREATE ROLE clerksync LOGIN PASSWORD :'password'
  NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
CREATE ROLE clerk_reader NOLOGIN;
GRANT clerk_reader TO clerksync;
CREATE DATABASE clerksync;
REVOKE ALL ON DATABASE clerksync, postgres FROM PUBLIC;
GRANT CONNECT ON DATABASE clerksync TO clerksync;
\connect clerksync
REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA clerk AUTHORIZATION clerksync;
SQL
