import { Pool } from 'pg'

const pool = new Pool({
  connectionString: process.env.DATABASE_URL,
  connectionTimeoutMillis: 3_000,
  statement_timeout: 5_000,
})
// Without a listener, losing an idle connection ends the process.
pool.on('error', (error) => console.error('PostgreSQL:', error.message))

type User = {
  name: string | null
  email: string | null
  organizations: { id: string; name: string | null; role: string }[]
}

// The user with the organizations, or undefined while clerksync has not applied the
// sign-up: a membership that came first has made a row without a time of creation.
export async function findUser(clerkId: string): Promise<User | undefined> {
  const { rows } = await pool.query<User>(
    `SELECT u.name, u.email, (
       SELECT coalesce(json_agg(json_build_object('id', o.clerk_id, 'name', o.name, 'role', m.role) ORDER BY o.name), '[]')
       FROM clerk.org_memberships m JOIN clerk.active_organizations o ON o.clerk_id = m.org_id
       WHERE m.user_id = u.id
     ) AS organizations
     FROM clerk.active_users u
     WHERE u.clerk_id = $1 AND u.created_at IS NOT NULL`,
    [clerkId],
  )
  return rows[0]
}
