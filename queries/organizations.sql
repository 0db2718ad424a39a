-- name: OrganizationUpsertMany :exec
-- See UserUpsertMany.
INSERT INTO organizations (
    id, clerk_id, name, slug, image_url, created_by, public_metadata, raw, created_at, updated_at, deleted_at
)
SELECT
    o.id, o.clerk_id, NULLIF(o.name, ''), NULLIF(o.slug, ''), NULLIF(o.image_url, ''), NULLIF(o.created_by, ''),
    o.public_metadata, o.raw, NULLIF(o.created_at, to_timestamp(0)), NULLIF(o.updated_at, to_timestamp(0)),
    NULLIF(o.deleted_at, to_timestamp(0))
FROM (
    SELECT
        unnest(@id::uuid[]) AS id,
        unnest(@clerk_id::text[]) AS clerk_id,
        unnest(@name::text[]) AS name,
        unnest(@slug::text[]) AS slug,
        unnest(@image_url::text[]) AS image_url,
        unnest(@created_by::text[]) AS created_by,
        unnest(@public_metadata::jsonb[]) AS public_metadata,
        unnest(@raw::jsonb[]) AS raw,
        unnest(@created_at::timestamptz[]) AS created_at,
        unnest(@updated_at::timestamptz[]) AS updated_at,
        unnest(@deleted_at::timestamptz[]) AS deleted_at
) AS o
ON CONFLICT (clerk_id) DO UPDATE SET
    name = excluded.name,
    slug = excluded.slug,
    image_url = excluded.image_url,
    created_by = excluded.created_by,
    public_metadata = excluded.public_metadata,
    raw = excluded.raw,
    created_at = excluded.created_at,
    updated_at = excluded.updated_at,
    deleted_at = excluded.deleted_at;
