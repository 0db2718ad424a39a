// Queries of an application through the printed Prisma models.
import { PrismaPg } from "@prisma/adapter-pg";
import { PrismaClient } from "./generated/client/client.js";

const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: process.env.DATABASE_URL }) });

const ada = await prisma.user.findUniqueOrThrow({
  where: { email: "ada@example.com" },
  include: { memberships: { include: { organization: true } } },
});
const membership = ada.memberships[0]!;
await prisma.post.create({ data: { title: "Hello", authorId: ada.id, orgId: membership.orgId } });
const posts = await prisma.post.findMany({
  where: { organization: { memberships: { some: { user: { clerkId: ada.clerkId }, role: "org:admin" } } } },
  include: { author: { select: { name: true } } },
});
const unique = await prisma.orgMembership.findUnique({ where: { userId_orgId: { userId: ada.id, orgId: membership.orgId } } });

const createdAt: Date | null = ada.createdAt;
const permissions: string[] = membership.permissions;
console.log(JSON.stringify({
  name: ada.name, email: ada.email, verified: ada.emailVerified, createdAt, metadata: ada.publicMetadata,
  organization: membership.organization.name, role: membership.role, permissions, unique: unique?.clerkId === membership.clerkId,
  posts: posts.map((post) => `${post.title} by ${post.author.name}`),
}));
await prisma.$disconnect();
