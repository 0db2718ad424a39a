// Per-service tokens: made by Clerk's Backend API from the JWT template that has the name
// of the service, and kept until shortly before they expire.
import { setTimeout as delay } from 'node:timers/promises'

import { clerkClient } from '@clerk/express'

import { Problem } from './problem.js'

const early = 10_000 // ms that a token is still good for when it is handed out
const limit = 10_000 // tokens: the oldest leave first
const pause = 2 // seconds until Clerk is asked again after a failure, unless it says so itself
const kept = new Map() // "session organization service" → { token: Promise, until: ms }

// serviceToken returns a token of the session for one service. Requests at the same time
// share one call, and its failure: the Backend API takes 1,000 calls in 10 seconds, of a
// development instance 100.
export function serviceToken(sessionId, orgId, service) {
  const key = `${sessionId} ${orgId ?? '-'} ${service}`
  const entry = kept.get(key)
  if (entry && Date.now() < entry.until) return entry.token

  const fresh = { token: make(sessionId, orgId, service), until: Infinity }
  kept.delete(key) // a map keeps its keys in the order of their first set
  kept.set(key, fresh)
  if (kept.size > limit) kept.delete(kept.keys().next().value)
  fresh.token.then(
    (token) => { fresh.until = claimsOf(token).exp * 1000 - early },
    (error) => { fresh.until = Date.now() + 1000 * (error.retryAfter ?? pause) },
  )
  return fresh.token
}

async function make(sessionId, orgId, service) {
  const { jwt } = await Promise.race([
    clerkClient.sessions.getToken(sessionId, service), // POST /v1/sessions/{session}/tokens/{template}
    delay(5000, undefined, { ref: false }).then(() => { throw new Error('timeout') }),
  ]).catch((error) => { throw problemOf(error, service) })

  // The service would refuse the token too, but only here the answer can name the setting.
  const claims = claimsOf(jwt)
  if (![claims.aud].flat().includes(service) || claims.org_id === undefined) {
    throw new Problem(502, 'template_incomplete', `JWT template '${service}' lacks a claim. ${fix(service)}`)
  }
  // The Backend API knows one active organization of a session. A browser can have another
  // one selected in each of its tabs: a token for the wrong tenant must not be used.
  if ((claims.org_id || undefined) !== orgId) {
    throw new Problem(409, 'organization_changed',
      'Another organization is active in this session: call setActive({organization}), then getToken({skipCache: true}).', 0)
  }
  return jwt
}

function problemOf(error, service) {
  const [{ message, longMessage } = {}] = error.errors ?? []
  if (error.status === 404 && message === 'JWT template not found') return new Problem(502, 'template_missing', `${longMessage}. ${fix(service)}`)
  if (error.status === 404) return new Problem(401, 'session_ended', 'Clerk does not know this session any more: sign in again.')
  if (error.status === 401) return new Problem(502, 'secret_key_refused', 'Clerk refuses CLERK_SECRET_KEY: compare it with Clerk dashboard → API keys.')
  return new Problem(503, 'clerk_unavailable', 'Clerk cannot make a token now: try again.', error.retryAfter ?? pause) // 429, 5xx, no answer
}

function fix(service) {
  return `Create JWT template '${service}' in Clerk's dashboard → JWT templates, with {"aud": "${service}", "org_id": "{{org.id}}"}.`
}

// The claims of a token that Clerk just made: there is nothing to verify.
function claimsOf(token) {
  return JSON.parse(Buffer.from(token.split('.')[1], 'base64url'))
}
