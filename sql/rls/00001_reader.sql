-- +goose Up

-- Tenants in the database, opt-in: what the role clerk_reader sees of the synced tables is
-- decided here, whatever its queries ask for. See docs/tenants.md.

-- Roles belong to the server: another database of it may have made this one.
-- +goose StatementBegin
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'clerk_reader') THEN
        CREATE ROLE clerk_reader NOLOGIN;
        IF NOT pg_has_role(current_user, 'clerk_reader', 'USAGE') THEN -- a superuser has all roles
            EXECUTE format('GRANT clerk_reader TO %I', current_user); -- it owns the tables, and gains nothing
        END IF;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN -- made meanwhile
        NULL;
    WHEN insufficient_privilege THEN
        RAISE insufficient_privilege USING MESSAGE = format('there is no role clerk_reader, and %1$I may not create it; '
            'let an administrator run: CREATE ROLE clerk_reader NOLOGIN; GRANT clerk_reader TO %1$I', current_user);
END
$$;
-- +goose StatementEnd

-- Policies do not bind a superuser, a role with BYPASSRLS, or the owner of the tables.
-- +goose StatementBegin
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_roles r, pg_class c
        WHERE r.rolname = 'clerk_reader' AND c.oid = 'users'::regclass
            AND (r.rolsuper OR r.rolbypassrls OR pg_has_role(r.oid, c.relowner, 'USAGE'))
    ) THEN
        RAISE insufficient_privilege USING MESSAGE = 'the role clerk_reader is a superuser, has BYPASSRLS, or owns the tables: no policy would bind it';
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO clerk_reader', current_schema());
END
$$;
-- +goose StatementEnd

-- All columns but raw, which has everything that Clerk sent, and email_rank. The views
-- active_users and active_organizations read raw, and so are refused too. A reader needs
-- neither: it sees no deleted row.
GRANT SELECT (
    id, clerk_id, email, primary_email, email_verified, name, first_name, last_name, username, phone_number, image_url,
    external_id, public_metadata, banned, locked, deprovisioned, last_sign_in_at, created_at, updated_at, deleted_at
) ON users TO clerk_reader;
GRANT SELECT (
    id, clerk_id, name, slug, image_url, created_by, public_metadata, created_at, updated_at, deleted_at
) ON organizations TO clerk_reader;
GRANT SELECT (
    id, clerk_id, user_id, org_id, role, permissions, public_metadata, created_at, updated_at
) ON org_memberships TO clerk_reader;

-- The functions. Each is bound to this schema when it is made, so that the search_path of a
-- session, or a temporary table, changes nothing of what it reads: a body that is an
-- expression (RETURN) by PostgreSQL, one that is a string by its search_path, in which
-- pg_temp is last. plpgsql keeps its plans for the session; SQL would plan at every call.
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Who asks: the user and the organization of a verified session token (request.jwt.claims,
-- as PostgREST sets it), or those that the application sets itself. Nobody when they
-- contradict each other, when the claims are no JSON, or when the session is pending.
-- +goose StatementBegin
CREATE FUNCTION current_identity(OUT user_id text, OUT org_id text)
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT
AS $$
DECLARE
    -- '' is what a transaction leaves of a setting that was local to it.
    set_user CONSTANT text := nullif(current_setting('clerk.user_id', true), '');
    set_org  CONSTANT text := nullif(current_setting('clerk.org_id', true), '');
    token    CONSTANT text := nullif(current_setting('request.jwt.claims', true), '');
    claims   jsonb;
    claimed_user text;
    claimed_org  text;
BEGIN
    IF token IS NULL THEN
        user_id := set_user;
        org_id := set_org;
        RETURN;
    END IF;
    BEGIN
        claims := token::jsonb;
    EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
        RETURN;
    END;
    claimed_user := nullif(claims ->> 'sub', '');
    claimed_org := coalesce(nullif(claims #>> '{o,id}', ''), nullif(claims ->> 'org_id', '')); -- version 2, version 1
    IF claims ->> 'sts' = 'pending'
        OR claimed_org <> nullif(claims ->> 'org_id', '')
        OR (set_user IS NOT NULL OR set_org IS NOT NULL)
            AND (set_user IS DISTINCT FROM claimed_user OR set_org IS DISTINCT FROM claimed_org)
    THEN
        RETURN;
    END IF;
    user_id := claimed_user;
    org_id := claimed_org;
END
$$;
-- +goose StatementEnd

-- The Clerk ids of the identity, as claimed: nobody looked at a row.
CREATE FUNCTION current_user_id() RETURNS text STABLE
RETURN (current_identity()).user_id;

CREATE FUNCTION current_org_id() RETURNS text STABLE
RETURN (current_identity()).org_id;

-- The others are checked against the rows as they are now: a user who was banned and a
-- membership that was removed count no more, whatever the token says. They run with the
-- rights of the owner of the tables: the policies call them, and would call themselves
-- otherwise.

-- users.id of the current user; NULL when the user is banned or deprovisioned. One who is
-- locked stays: a lock stops sign-ins only, and anybody can cause it by failed ones.
-- +goose StatementBegin
CREATE FUNCTION active_user_uuid() RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (
        SELECT u.id FROM current_identity() i JOIN users u ON u.clerk_id = i.user_id
        WHERE u.deleted_at IS NULL AND NOT (u.banned OR u.deprovisioned)
    );
END
$$;
-- +goose StatementEnd

CREATE FUNCTION is_active_user() RETURNS boolean STABLE
RETURN active_user_uuid() IS NOT NULL;

-- The Clerk id of the current organization; NULL when the current user is not in it.
-- +goose StatementBegin
CREATE FUNCTION member_org_id() RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (
        SELECT m.org_id
        FROM current_identity() i
        JOIN users u ON u.clerk_id = i.user_id
        JOIN org_memberships m ON m.user_id = u.id AND m.org_id = i.org_id
        WHERE u.deleted_at IS NULL AND NOT (u.banned OR u.deprovisioned)
    );
END
$$;
-- +goose StatementEnd

-- Whether the current user is in an organization, with one of the roles if any are given.
-- 'admin' and 'org:admin' are one role: tokens and webhooks write it differently.
-- +goose StatementBegin
CREATE FUNCTION is_member(org text, VARIADIC roles text[] DEFAULT '{}') RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM org_memberships m
        WHERE m.org_id = org AND m.user_id = active_user_uuid()
            AND (
                cardinality(roles) = 0 -- not when roles is NULL
                OR regexp_replace(m.role, '^org:', '') = ANY (SELECT regexp_replace(r, '^org:', '') FROM unnest(roles) AS r)
            )
    );
END
$$;
-- +goose StatementEnd

REVOKE ALL ON FUNCTION
    current_identity(), current_user_id(), current_org_id(), active_user_uuid(), is_active_user(), member_org_id(),
    is_member(text, text[])
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    current_identity(), current_user_id(), current_org_id(), active_user_uuid(), is_active_user(), member_org_id(),
    is_member(text, text[])
TO clerk_reader;

-- Row-level security is for clerk_reader and its members alone. Everybody else, as the
-- worker and the roles that read today, sees and writes what it did: a policy that is
-- always true is gone before a statement is planned.
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
ALTER TABLE organizations ENABLE ROW LEVEL SECURITY;
ALTER TABLE org_memberships ENABLE ROW LEVEL SECURITY;
CREATE POLICY everybody ON users USING (true);
CREATE POLICY everybody ON organizations USING (true);
CREATE POLICY everybody ON org_memberships USING (true);

-- What a reader sees. (SELECT f()) is evaluated once for a query, f() would be for each row.

-- The current user's own memberships, and all of the current organization.
CREATE POLICY reader ON org_memberships AS RESTRICTIVE FOR SELECT TO clerk_reader USING (
    user_id = (SELECT active_user_uuid()) OR org_id = (SELECT member_org_id())
);

-- The organizations of these memberships.
CREATE POLICY reader ON organizations AS RESTRICTIVE FOR SELECT TO clerk_reader USING (
    deleted_at IS NULL
    AND clerk_id = ANY (ARRAY(SELECT m.org_id FROM org_memberships m WHERE m.user_id = (SELECT active_user_uuid())))
);

-- The current user, and the members of the current organization.
CREATE POLICY reader ON users AS RESTRICTIVE FOR SELECT TO clerk_reader USING (
    deleted_at IS NULL
    AND (
        id = (SELECT active_user_uuid())
        OR EXISTS (SELECT FROM org_memberships m WHERE m.user_id = users.id AND m.org_id = (SELECT member_org_id()))
    )
);

-- A worker that is made a member of clerk_reader by mistake must not go on with the rows
-- that it sees: a DELETE that finds nothing is no error. A policy cannot say so, since the
-- planner may look for the visible rows first.
-- +goose StatementBegin
CREATE FUNCTION refuse_reader() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT
AS $$
BEGIN
    RAISE insufficient_privilege USING MESSAGE = format('%1$I inherits the role clerk_reader, which never writes the synced tables; run: '
        'REVOKE clerk_reader FROM %1$I; ALTER ROLE %1$I NOINHERIT; GRANT clerk_reader TO %1$I', current_user);
END
$$;
-- +goose StatementEnd

-- Once for a statement, and called only to refuse it. to_regrole is NULL when there is no
-- such role any more; the owner is a member and not bound.
CREATE TRIGGER refuse_reader BEFORE INSERT OR UPDATE OR DELETE ON users
WHEN (row_security_active('users'::regclass) AND pg_has_role(to_regrole('clerk_reader'), 'USAGE')) EXECUTE FUNCTION refuse_reader();
CREATE TRIGGER refuse_reader BEFORE INSERT OR UPDATE OR DELETE ON organizations
WHEN (row_security_active('organizations'::regclass) AND pg_has_role(to_regrole('clerk_reader'), 'USAGE')) EXECUTE FUNCTION refuse_reader();
CREATE TRIGGER refuse_reader BEFORE INSERT OR UPDATE OR DELETE ON org_memberships
WHEN (row_security_active('org_memberships'::regclass) AND pg_has_role(to_regrole('clerk_reader'), 'USAGE')) EXECUTE FUNCTION refuse_reader();

-- +goose Down

DROP TRIGGER refuse_reader ON org_memberships;
DROP TRIGGER refuse_reader ON organizations;
DROP TRIGGER refuse_reader ON users;
DROP FUNCTION refuse_reader();
DROP POLICY reader ON users;
DROP POLICY reader ON organizations;
DROP POLICY reader ON org_memberships;
DROP POLICY everybody ON users;
DROP POLICY everybody ON organizations;
DROP POLICY everybody ON org_memberships;
ALTER TABLE users DISABLE ROW LEVEL SECURITY;
ALTER TABLE organizations DISABLE ROW LEVEL SECURITY;
ALTER TABLE org_memberships DISABLE ROW LEVEL SECURITY;

-- All that still calls the functions, such as policies and column defaults of your own
-- tables: DROP FUNCTION alone would name those of the first function.
-- +goose StatementBegin
DO $$
DECLARE
    own CONSTANT oid[] := ARRAY[
        'is_member(text, text[])'::regprocedure, 'member_org_id()'::regprocedure, 'is_active_user()'::regprocedure,
        'active_user_uuid()'::regprocedure, 'current_org_id()'::regprocedure, 'current_user_id()'::regprocedure,
        'current_identity()'::regprocedure
    ];
    callers CONSTANT text := (
        SELECT string_agg(DISTINCT pg_describe_object(classid, objid, objsubid), ', ')
        FROM pg_depend
        WHERE refclassid = 'pg_proc'::regclass AND refobjid = ANY (own)
            AND NOT (classid = 'pg_proc'::regclass AND objid = ANY (own))
    );
BEGIN
    IF callers IS NOT NULL THEN
        RAISE dependent_objects_still_exist USING MESSAGE = callers;
    END IF;
END
$$;
-- +goose StatementEnd

DROP FUNCTION is_member(text, text[]);
DROP FUNCTION member_org_id();
DROP FUNCTION is_active_user();
DROP FUNCTION active_user_uuid();
DROP FUNCTION current_org_id();
DROP FUNCTION current_user_id();
DROP FUNCTION current_identity();

-- The role stays: another database of the server may use it.
-- +goose StatementBegin
DO $$
BEGIN
    REVOKE ALL ON users, organizations, org_memberships FROM clerk_reader;
    EXECUTE format('REVOKE USAGE ON SCHEMA %I FROM clerk_reader', current_schema());
END
$$;
-- +goose StatementEnd
