-- name: PoliciesGet :one
-- Reports whether the tables have the policies of migrate up --with rls.
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_class
    WHERE oid = to_regclass('users') AND relrowsecurity AND to_regrole('clerk_reader') IS NOT NULL
) AS present;

-- name: ReaderEnter :exec
-- Gives the query after it, in the same transaction, the role that the policies are for,
-- and the claims of a token.
SELECT set_config('role', 'clerk_reader', true), set_config('request.jwt.claims', @claims::text, true);

-- name: RoleGet :one
-- Returns the role of an active user in an organization, '' when the user has none there.
SELECT COALESCE(m.role, '')::text AS role
FROM users AS u
LEFT JOIN org_memberships AS m ON m.user_id = u.id AND m.org_id = @org_id
WHERE u.clerk_id = @user_id
    AND u.deleted_at IS NULL AND NOT (u.banned OR u.deprovisioned) AND u.updated_at IS NOT NULL;

-- name: ProfileList :many
-- Returns an active user, once for each membership.
SELECT
    u.clerk_id, u.primary_email, u.email_verified, u.name, u.first_name, u.last_name, u.username, u.phone_number, u.image_url,
    u.external_id, u.public_metadata, u.last_sign_in_at, u.created_at, u.updated_at,
    m.clerk_id AS membership_id, m.role, m.permissions, m.created_at AS joined_at,
    o.clerk_id AS org_id, o.name AS org_name, o.slug AS org_slug, o.image_url AS org_image_url
FROM users AS u
LEFT JOIN org_memberships AS m ON m.user_id = u.id
LEFT JOIN organizations AS o ON o.clerk_id = m.org_id
WHERE u.clerk_id = @user_id
    AND u.deleted_at IS NULL AND NOT (u.banned OR u.deprovisioned) AND u.updated_at IS NOT NULL
ORDER BY m.clerk_id;

-- name: OrganizationGetFor :one
-- Returns an organization and the membership of an active user in it.
SELECT
    o.clerk_id, o.name, o.slug, o.image_url, o.public_metadata, o.created_at, o.updated_at,
    m.clerk_id AS membership_id, m.role, m.permissions, m.created_at AS joined_at
FROM users AS u
JOIN org_memberships AS m ON m.user_id = u.id AND m.org_id = @org_id
JOIN organizations AS o ON o.clerk_id = m.org_id
WHERE u.clerk_id = @user_id
    AND u.deleted_at IS NULL AND NOT (u.banned OR u.deprovisioned) AND u.updated_at IS NOT NULL;

-- name: MemberList :many
-- Returns members of the organization of an active user, by membership id, which Clerk
-- makes from the time: the oldest membership first. When there are none, it returns one
-- row without an id, and when the user is no member of the organization, none.
SELECT
    COALESCE(p.clerk_id, '')::text AS clerk_id, COALESCE(p.role, '')::text AS role, p.created_at,
    COALESCE(p.user_id, '')::text AS user_id, p.name, p.first_name, p.last_name, p.image_url, p.primary_email
FROM users AS me
JOIN org_memberships AS mine ON mine.user_id = me.id AND mine.org_id = @org_id
LEFT JOIN LATERAL (
    SELECT m.clerk_id, m.role, m.created_at, u.clerk_id AS user_id, u.name, u.first_name, u.last_name, u.image_url, u.primary_email
    FROM org_memberships AS m
    JOIN users AS u ON u.id = m.user_id
    WHERE m.org_id = @org_id AND m.clerk_id > @after
        AND (cardinality(@roles::text[]) = 0 OR m.role = ANY(@roles::text[]))
        AND (@pattern::text = '' OR u.name ILIKE @pattern::text OR u.primary_email ILIKE @pattern::text)
    ORDER BY m.clerk_id
    LIMIT @most
) AS p ON true
WHERE me.clerk_id = @user_id
    AND me.deleted_at IS NULL AND NOT (me.banned OR me.deprovisioned) AND me.updated_at IS NOT NULL
ORDER BY p.clerk_id;

-- name: MissGet :one
-- Explains why a user, or the membership of one, was not found.
SELECT
    COALESCE((
        SELECT CASE
            WHEN u.deleted_at IS NOT NULL THEN 'deleted'
            WHEN u.banned THEN 'banned'
            WHEN u.deprovisioned THEN 'deprovisioned'
            WHEN u.updated_at IS NULL THEN 'stub'
            ELSE 'active'
        END
        FROM users AS u
        WHERE u.clerk_id = @user_id
    ), '')::text AS state,
    EXISTS (SELECT FROM seats AS s WHERE s.user_id = @user_id AND s.org_id = @org_id::text) AS seat;
