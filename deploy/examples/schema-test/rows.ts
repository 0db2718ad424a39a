// Queries in SQL, their rows typed as printed, through pg and through postgres.js.
import pg from "pg";
import postgres from "postgres";
import type { Organization, OrgMembership, User } from "./generated/rows.js";

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL });
const sql = postgres(process.env.DATABASE_URL ?? "");

const { rows: users } = await pool.query<User>("SELECT * FROM clerk.users WHERE email = $1", ["ada@example.com"]);
const user = users[0]!;
const [membership] = await sql<OrgMembership[]>`SELECT * FROM clerk.org_memberships WHERE user_id = ${user.id}`;
const [organization] = await sql<Organization[]>`SELECT * FROM clerk.organizations WHERE clerk_id = ${membership!.org_id}`;
await pool.query("INSERT INTO posts (title, author_id, org_id) VALUES ($1, $2, $3)", ["Hello", user.id, membership!.org_id]);
const { rows: posts } = await pool.query<{ title: string } & Pick<User, "name">>(
  "SELECT title, name FROM posts JOIN clerk.users u ON u.id = author_id WHERE org_id = $1", [organization!.clerk_id],
);

const createdAt: Date | null = user.created_at;
const permissions: string[] = membership!.permissions;
console.log(JSON.stringify({
  name: user.name, email: user.email, verified: user.email_verified, createdAt: createdAt instanceof Date ? createdAt : null,
  metadata: user.public_metadata, organization: organization!.name, role: membership!.role, permissions, unique: posts.length === 1,
  posts: posts.map((post) => `${post.title} by ${post.name}`),
}));
await Promise.all([pool.end(), sql.end()]);
