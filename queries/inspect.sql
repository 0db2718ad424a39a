-- name: ServerGet :one
-- Returns the server's settings and the rights of the role.
SELECT
    current_setting('server_version')::text AS version,
    current_setting('server_version_num')::int AS version_number,
    current_setting('fsync')::text AS fsync,
    current_setting('full_page_writes')::text AS full_page_writes,
    current_setting('synchronous_commit')::text AS synchronous_commit,
    pg_is_in_recovery()::boolean AS standby,
    current_setting('transaction_read_only')::boolean AS read_only, -- on a standby as well
    quote_ident(current_user)::text AS role,
    coalesce(to_regnamespace(current_setting('search_path'))::text, '')::text AS schema, -- as SQL has to write it; '' when there is none
    coalesce(has_schema_privilege(to_regnamespace(current_setting('search_path')), 'USAGE'), false)::boolean AS schema_usable,
    clock_timestamp()::timestamptz AS at;

-- name: PrivilegeMissingList :many
-- Returns the privileges that the worker needs and the role lacks: on the given tables, and
-- on the lists of migrations.
SELECT t.name::text AS table_name, p.privilege::text AS privilege
FROM unnest(@table_name::text[] || ARRAY['clerksync_migrations', 'clerksync_rls_migrations']) WITH ORDINALITY AS t (name, position)
CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) WITH ORDINALITY AS p (privilege, position)
WHERE NOT has_table_privilege(to_regclass(t.name), p.privilege)
    AND (p.privilege = 'SELECT' OR t.name <> ALL (ARRAY['clerksync_migrations', 'clerksync_rls_migrations']))
ORDER BY t.position, p.position;
