-- name: UserUpsertMany :exec
-- Writes users whose heads were advanced in this transaction. '' and the epoch stand for
-- NULL, which the arrays of sqlc cannot hold. email is set for users that hold their
-- address, email_rank for those that wait for it; UserEmailRelease has taken the
-- address from the previous holder.
INSERT INTO users (
    id, clerk_id, email, email_rank, primary_email, email_verified, name, first_name, last_name, username, phone_number,
    image_url, external_id, public_metadata, banned, locked, deprovisioned, last_sign_in_at, raw,
    created_at, updated_at, deleted_at
)
SELECT
    u.id, u.clerk_id, NULLIF(u.email, ''), NULLIF(u.email_rank, ''), NULLIF(u.primary_email, ''), u.email_verified,
    NULLIF(concat_ws(' ', NULLIF(u.first_name, ''), NULLIF(u.last_name, '')), ''),
    NULLIF(u.first_name, ''), NULLIF(u.last_name, ''), NULLIF(u.username, ''), NULLIF(u.phone_number, ''),
    NULLIF(u.image_url, ''), NULLIF(u.external_id, ''), u.public_metadata, u.banned, u.locked, u.deprovisioned,
    NULLIF(u.last_sign_in_at, to_timestamp(0)), u.raw, NULLIF(u.created_at, to_timestamp(0)),
    NULLIF(u.updated_at, to_timestamp(0)), NULLIF(u.deleted_at, to_timestamp(0))
FROM (
    SELECT
        unnest(@id::uuid[]) AS id,
        unnest(@clerk_id::text[]) AS clerk_id,
        unnest(@email::text[]) AS email,
        unnest(@email_rank::text[]) AS email_rank,
        unnest(@primary_email::text[]) AS primary_email,
        unnest(@email_verified::boolean[]) AS email_verified,
        unnest(@first_name::text[]) AS first_name,
        unnest(@last_name::text[]) AS last_name,
        unnest(@username::text[]) AS username,
        unnest(@phone_number::text[]) AS phone_number,
        unnest(@image_url::text[]) AS image_url,
        unnest(@external_id::text[]) AS external_id,
        unnest(@public_metadata::jsonb[]) AS public_metadata,
        unnest(@banned::boolean[]) AS banned,
        unnest(@locked::boolean[]) AS locked,
        unnest(@deprovisioned::boolean[]) AS deprovisioned,
        unnest(@last_sign_in_at::timestamptz[]) AS last_sign_in_at,
        unnest(@raw::jsonb[]) AS raw,
        unnest(@created_at::timestamptz[]) AS created_at,
        unnest(@updated_at::timestamptz[]) AS updated_at,
        unnest(@deleted_at::timestamptz[]) AS deleted_at
) AS u
ON CONFLICT (clerk_id) DO UPDATE SET
    email = excluded.email,
    email_rank = excluded.email_rank,
    primary_email = excluded.primary_email,
    email_verified = excluded.email_verified,
    name = excluded.name,
    first_name = excluded.first_name,
    last_name = excluded.last_name,
    username = excluded.username,
    phone_number = excluded.phone_number,
    image_url = excluded.image_url,
    external_id = excluded.external_id,
    public_metadata = excluded.public_metadata,
    banned = excluded.banned,
    locked = excluded.locked,
    deprovisioned = excluded.deprovisioned,
    last_sign_in_at = excluded.last_sign_in_at,
    raw = excluded.raw,
    created_at = excluded.created_at,
    updated_at = excluded.updated_at,
    deleted_at = excluded.deleted_at;

-- name: UserEmailFindMany :batchmany
-- Returns the users that matter to the given addresses, and to those that the given users
-- claim or hold: of each address its holder, whatever that user claims, and of those that
-- claim it and do not hold it the one with the greatest rank, besides the given users; and
-- the given users; and all users without a rank. A user without a head is
-- deleted: its claim does not count. The order names the address, which is one value, since
-- behind row-level security the planner does not see that users_waiting_idx has it already.
--
-- It must be a separate statement after HeadLockMany: only then does it see what the previous
-- owner of a lock committed. For OFFSET 0 see HeadGetMany.
SELECT
    u.clerk_id::text AS clerk_id,
    COALESCE(u.primary_email, '')::text AS primary_email,
    COALESCE(u.email, '')::text AS email,
    (u.email_rank IS NOT NULL)::boolean AS ranked,
    COALESCE(h.deleted, true)::boolean AS deleted,
    COALESCE(h.updated_at, to_timestamp(0))::timestamptz AS updated_at,
    COALESCE(h.event_at, to_timestamp(0))::timestamptz AS event_at,
    COALESCE(h.event_id, '')::text AS event_id
FROM (
    SELECT c.clerk_id, c.primary_email, c.email, c.email_rank FROM users c WHERE c.clerk_id = ANY(@clerk_id::text[])
    UNION
    SELECT o.*
    FROM (
        SELECT unnest(@address::text[]) AS address
        UNION
        SELECT v.address FROM users o CROSS JOIN LATERAL (VALUES (o.primary_email), (o.email)) AS v (address)
        WHERE o.clerk_id = ANY(@clerk_id::text[])
    ) AS a
    CROSS JOIN LATERAL (
        SELECT c.clerk_id, c.primary_email, c.email, c.email_rank FROM users c WHERE c.email = a.address
        UNION ALL
        SELECT c.clerk_id, c.primary_email, c.email, c.email_rank FROM users c
        WHERE c.primary_email || '' = a.address AND c.email IS DISTINCT FROM c.primary_email AND c.email_rank IS NULL
        UNION ALL
        (
            SELECT c.clerk_id, c.primary_email, c.email, c.email_rank FROM users c
            WHERE c.primary_email || '' = a.address AND c.email IS DISTINCT FROM c.primary_email AND c.email_rank IS NOT NULL
                AND c.clerk_id <> ALL(@clerk_id::text[])
            ORDER BY c.primary_email || '', c.email_rank DESC
            FETCH FIRST 1 ROW WITH TIES
        )
        OFFSET 0
    ) AS o
) AS u
LEFT JOIN LATERAL (SELECT * FROM entity_heads e WHERE e.kind = 'user' AND e.clerk_id = u.clerk_id OFFSET 0) AS h ON true;

-- name: UserEmailRelease :exec
-- Takes their address from users, and ranks them among those that wait for theirs. ranks is
-- a JSON object, since a join with an array could be planned as a scan of users.
UPDATE users SET email = NULL, email_rank = CASE WHEN primary_email IS NOT NULL THEN @ranks::jsonb ->> clerk_id END
WHERE clerk_id = ANY(@clerk_id::text[]);

-- name: UserEmailGrant :exec
-- Gives users the address that they claim.
UPDATE users SET email = primary_email, email_rank = NULL WHERE clerk_id = ANY(@clerk_id::text[]);

-- name: UserEmailGet :one
-- Returns the address that a user claims, '' when there is none.
SELECT COALESCE(primary_email, '') FROM users WHERE clerk_id = @clerk_id;

-- name: UserFindByEmail :many
-- Returns the users that claim an address, its holder first.
SELECT clerk_id FROM (
    SELECT h.clerk_id, 1 AS place FROM users h WHERE h.email = @address::text
    UNION ALL
    SELECT w.clerk_id, 2 FROM users w WHERE w.primary_email || '' = @address::text AND w.email IS DISTINCT FROM w.primary_email
) AS claims
ORDER BY place, clerk_id;
