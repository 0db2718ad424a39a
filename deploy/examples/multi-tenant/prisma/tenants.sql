-- Who sees which posts: after "clerksync migrate up --with rls" and "prisma migrate deploy".
-- It is no migration of Prisma, whose shadow database has no clerksync. See docs/tenants.md.

-- The role that queries run as. It reads what clerk_reader reads, and has grants of its own.
CREATE ROLE multi_tenant NOLOGIN;
GRANT clerk_reader TO multi_tenant;
GRANT SELECT, INSERT ON posts TO multi_tenant;

-- Posts of the current organization, for its members, who write in their own name.
ALTER TABLE posts ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON posts TO clerk_reader
    USING (org_id = (SELECT clerk.member_org_id()))
    WITH CHECK (org_id = (SELECT clerk.member_org_id()) AND author_id = (SELECT clerk.active_user_uuid()));

-- The role that the application logs in as. By itself it reads nothing.
CREATE ROLE multi_tenant_app LOGIN NOINHERIT;
GRANT multi_tenant TO multi_tenant_app;
