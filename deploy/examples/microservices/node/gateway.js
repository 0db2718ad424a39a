// The gateway, a backend for the frontend: it takes the browser's session token, and calls
// each service with a token that is good for that service only.
import { clerkMiddleware, getAuth } from '@clerk/express'
import express from 'express'

import { listen, need } from './listen.js'
import { Problem, problems } from './problem.js'
import { serviceToken } from './tokens.js'

need('ORDERS_URL', 'REPORTS_URL', 'INVENTORY_URL', 'CLERK_SECRET_KEY', 'CLERK_PUBLISHABLE_KEY', 'CLERK_JWT_KEY', 'CLERK_AUTHORIZED_PARTIES')
const services = { orders: process.env.ORDERS_URL, reports: process.env.REPORTS_URL, inventory: process.env.INVENTORY_URL }

const app = express().disable('x-powered-by')

// Verifies the session token, of the Authorization header or the cookie __session, with
// CLERK_JWT_KEY and so without a request to Clerk. It takes no tokens of JWT templates.
app.use(clerkMiddleware({ authorizedParties: process.env.CLERK_AUTHORIZED_PARTIES.split(',') }))
app.use(express.raw({ type: () => true, limit: '1mb' }))

for (const [service, url] of Object.entries(services)) {
  app.use(`/${service}`, async (request, response) => {
    const { isAuthenticated, sessionId, orgId } = getAuth(request)
    if (!isAuthenticated) throw signedOut(request)

    // A service gets what it needs, no cookie, and never the session token.
    const headers = { authorization: `Bearer ${await serviceToken(sessionId, orgId, service)}` }
    for (const name of ['accept', 'content-type']) {
      if (request.get(name)) headers[name] = request.get(name)
    }
    const body = ['GET', 'HEAD'].includes(request.method) ? undefined : request.body
    const answer = await fetch(url + request.url, {
      method: request.method, headers, body, redirect: 'manual', signal: AbortSignal.timeout(10_000),
    }).catch(() => { throw new Problem(502, 'service_unavailable', `The service ${service} does not answer: does it listen at its URL?`) })
    response.status(answer.status).type(answer.headers.get('content-type') ?? 'application/octet-stream')
    response.send(Buffer.from(await answer.arrayBuffer()))
  })
}
app.use(() => { throw new Problem(404, 'not_found', `There are only ${Object.keys(services).join(', ')}.`) })
app.use(problems('gateway'))

listen(app, 'gateway', 4000)

function signedOut(request) {
  return request.get('authorization') || request.get('cookie')?.includes('__session=')
    ? new Problem(401, 'token_invalid', 'This is no valid session token: get a new one with getToken(), without a template.')
    : new Problem(401, 'token_missing', 'Send the token of getToken() in the header "Authorization: Bearer …".')
}
