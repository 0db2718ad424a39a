import { PrismaPg } from '@prisma/adapter-pg'
import { auth } from '@clerk/nextjs/server'
import { redirect } from 'next/navigation'
import { PrismaClient } from './generated/prisma/client'

const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: process.env.DATABASE_URL }) })

// The session's user and organization, and a client whose every query sees only what belongs
// to them. Without a session: to the sign-in page; without an organization: to choose one.
export async function tenant() {
  const { userId, orgId } = await auth.protect()
  if (!orgId) redirect('/select-org')
  return { userId, orgId, db: scoped(userId, orgId) }
}

// Each query is a transaction of its own that begins with who asks. From then on the policies
// of PostgreSQL hold, also where a query forgets its WHERE. The settings end with the
// transaction, so that a pooled connection carries none to the next request.
function scoped(userId: string, orgId: string) {
  return prisma.$extends({
    query: {
      async $allOperations({ args, query }) {
        const [, result] = await prisma.$transaction([
          prisma.$queryRaw`SELECT set_config('role', 'multi_tenant', true),
            set_config('clerk.user_id', ${userId}, true), set_config('clerk.org_id', ${orgId}, true)`,
          query(args),
        ])
        return result
      },
    },
  })
}
