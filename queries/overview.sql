-- name: OverviewList :many
-- Returns how many rows the synced tables have: live ones among the first @most, and an
-- estimate of the live ones of the whole table, which costs nothing however large it is.
-- Tombstones are no rows to count; null_frac is their share, known since the last ANALYZE.
SELECT t.kind, t.read, t.live, (greatest(c.reltuples, 0) * coalesce(s.null_frac, 1))::bigint AS estimate
FROM (
    SELECT 'user'::text AS kind, 'users'::text AS name, count(*) AS read, count(*) FILTER (WHERE u.deleted_at IS NULL) AS live
    FROM (SELECT deleted_at FROM users LIMIT @most::bigint) AS u
    UNION ALL
    SELECT 'organization', 'organizations', count(*), count(*) FILTER (WHERE o.deleted_at IS NULL)
    FROM (SELECT deleted_at FROM organizations LIMIT @most::bigint) AS o
    UNION ALL
    SELECT 'membership', 'org_memberships', count(*), count(*)
    FROM (SELECT 1 FROM org_memberships LIMIT @most::bigint) AS m
) AS t
JOIN pg_catalog.pg_class AS c ON c.oid = to_regclass(t.name)
LEFT JOIN pg_catalog.pg_stats AS s ON s.schemaname = current_schema() AND s.tablename = c.relname AND s.attname = 'deleted_at';

-- name: ServerName :one
-- Returns the database and the version of its server.
SELECT current_database()::text AS database, current_setting('server_version')::text AS version;
