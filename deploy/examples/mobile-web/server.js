import { clerkMiddleware, getAuth } from '@clerk/express'
import cors from 'cors'
import express from 'express'
import pg from 'pg'

const { CLERK_PUBLISHABLE_KEY, CLERK_AUTHORIZED_PARTIES = '', DATABASE_URL, PORT = 3000 } = process.env
const origins = CLERK_AUTHORIZED_PARTIES.split(',')

const pool = new pg.Pool({ connectionString: DATABASE_URL, connectionTimeoutMillis: 3_000, statement_timeout: 5_000 })
// Without a listener, losing an idle connection ends the process.
pool.on('error', (error) => console.error('PostgreSQL:', error.message))

const app = express()
app.disable('x-powered-by')
app.use(express.static(`${import.meta.dirname}/public`)) // the web client

// For web views in mobile apps, whose origin is another (capacitor://localhost). Before the
// tokens are checked: without its headers a web view could not read a 401.
app.use('/api', cors({ origin: origins }))
app.use('/api', clerkMiddleware())

app.get('/api/public', (req, res) => {
  res.json({ publishableKey: CLERK_PUBLISHABLE_KEY })
})

app.get('/api/profile', signedIn, async (req, res) => {
  const { rows } = await pool.query(
    `SELECT u.clerk_id AS id, u.name, u.email, (
       SELECT coalesce(json_agg(json_build_object('id', o.clerk_id, 'name', o.name, 'role', m.role) ORDER BY o.name), '[]')
       FROM clerk.org_memberships m JOIN clerk.active_organizations o ON o.clerk_id = m.org_id
       WHERE m.user_id = u.id
     ) AS organizations
     FROM clerk.active_users u
     WHERE u.clerk_id = $1 AND u.created_at IS NOT NULL`,
    [getAuth(req).userId],
  )
  res.set('Cache-Control', 'no-store')
  if (rows.length > 0) return res.json(rows[0])
  // A sign-up is in the tables a moment after its webhook. A row without a time of
  // creation was made by a membership that came first.
  res.set('Retry-After', '1')
  problem(res, 503, 'not_synced_yet', 'the account is being set up; send the request again after the time in Retry-After')
})

// Answers 401. The package's requireAuth would redirect, and fetch follow to a page of HTML.
function signedIn(req, res, next) {
  const { userId, sessionClaims } = getAuth(req)
  const reason = String(res.get('x-clerk-auth-reason'))
  if (userId && partyAllowed(req, sessionClaims.azp)) return next()
  res.set('WWW-Authenticate', 'Bearer')
  if (reason === 'session-token-and-uat-missing') {
    problem(res, 401, 'token_missing', 'there is no session token; mobile clients must send the header Authorization: Bearer <getToken()>')
  } else if (reason.startsWith('session-token-expired')) {
    problem(res, 401, 'token_expired', 'the session token has expired; call getToken() before every request')
  } else {
    problem(res, 401, 'token_invalid', 'the session token is not one for this API; sign in again')
  }
}

// A token of a browser names the origin that it was made for. One of a native app names
// none, and is taken from the header only. The option authorizedParties of clerkMiddleware
// would refuse it.
function partyAllowed(req, azp) {
  return azp ? origins.includes(azp) : req.get('Authorization')?.startsWith('Bearer ')
}

function problem(res, status, code, detail) {
  res.status(status).type('application/problem+json').json({ status, code, detail })
}

app.use((error, req, res, next) => {
  console.error(error.message)
  if (res.headersSent) return next(error)
  problem(res, 500, 'internal', 'the request failed; the log of the server says why')
})

app.listen(PORT, () => console.log(`http://localhost:${PORT}`))
