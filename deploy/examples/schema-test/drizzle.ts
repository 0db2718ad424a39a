// Queries of an application through the printed Drizzle tables.
import { and, eq } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import pg from "pg";
import { organizations, orgMemberships, users } from "./generated/clerk.js";
import { posts } from "./schema.js";

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL });
const db = drizzle(pool);

const [ada] = await db
  .select({ user: users, membership: orgMemberships, organization: organizations })
  .from(users)
  .innerJoin(orgMemberships, eq(orgMemberships.userId, users.id))
  .innerJoin(organizations, eq(organizations.clerkId, orgMemberships.orgId))
  .where(and(eq(users.email, "ada@example.com"), eq(orgMemberships.role, "org:admin")));
const { user, membership, organization } = ada!;
await db.insert(posts).values({ title: "Hello", authorId: user.id, orgId: membership.orgId });
const written = await db
  .select({ title: posts.title, author: users.name })
  .from(posts)
  .innerJoin(users, eq(users.id, posts.authorId))
  .where(eq(posts.orgId, organization.clerkId));

const createdAt: Date | null = user.createdAt;
const permissions: string[] = membership.permissions;
console.log(JSON.stringify({
  name: user.name, email: user.email, verified: user.emailVerified, createdAt, metadata: user.publicMetadata,
  organization: organization.name, role: membership.role, permissions, unique: written.length === 1,
  posts: written.map((post) => `${post.title} by ${post.author}`),
}));
await pool.end();
