// The service in Node: who calls, in which organization, with which role.
import express from 'express'
import pg from 'pg'

import { fromHeaders, fromToken } from './identity.js'
import { listen, need } from './listen.js'
import { Problem, problems } from './problem.js'

const service = 'orders' // its JWT template in Clerk, and the audience of its tokens
const identity = process.env.IDENTITY === 'headers' ? fromHeaders : fromToken

need('DATABASE_URL')
if (identity === fromToken) need('CLERK_JWT_KEY', 'CLERK_FRONTEND_API_URL', 'CLERK_AUTHORIZED_PARTIES')

const database = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10, connectionTimeoutMillis: 5000, query_timeout: 5000 })
database.on('error', () => {}) // an idle connection broke: the pool opens another one

// The role is that of the synced row and not that of the token: a removed member is out
// at the next request, whatever the token still says.
const caller = `
  SELECT u.clerk_id AS user_id, u.name AS user_name, o.clerk_id AS org_id, o.name AS org_name, m.role
  FROM clerk.org_memberships m
  JOIN clerk.users u ON u.id = m.user_id
  JOIN clerk.organizations o ON o.clerk_id = m.org_id
  WHERE u.clerk_id = $1 AND m.org_id = $2 AND NOT u.banned AND NOT u.deprovisioned`

const app = express().disable('x-powered-by')

app.get('/', async (request, response) => {
  const { userId, orgId } = await identity(request, service)
  if (!orgId) throw new Problem(403, 'org_not_selected', 'No organization is selected: choose one first (setActive in the browser).')
  const { rows: [row] } = await database.query(caller, [userId, orgId])
  if (!row) throw new Problem(403, 'not_a_member', 'The caller is not, or no longer, a member of this organization, or is banned.')
  response.json({
    service, user: { id: row.user_id, name: row.user_name }, organization: { id: row.org_id, name: row.org_name }, role: row.role,
  })
})
app.use(() => { throw new Problem(404, 'not_found', 'There is only GET /.') })
app.use(problems(service))

listen(app, service, 4001)
