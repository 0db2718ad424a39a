import { verifyToken } from '@clerk/express'

import { Problem } from './problem.js'

const template = 'cl_B7d4PD222AAA' // the header `cat` of a token made from a JWT template

// fromToken returns who calls, { userId, orgId }, from a token that Clerk signed for this
// service. verifyToken checks the signature with the public key of your instance, and
// that the token is in its time: exp is there and ahead, nbf and iat are past. The rest
// is below, because verifyToken takes session tokens, and with its option `audience` any
// token that has no audience.
export async function fromToken(request, service) {
  const [, token] = /^Bearer (\S+)$/i.exec(request.get('authorization') ?? '') ?? []
  if (!token) throw refuse('token_missing', 'Send the token in the header "Authorization: Bearer …".')

  let claims
  try {
    claims = await verifyToken(token, { jwtKey: process.env.CLERK_JWT_KEY })
  } catch (error) {
    if (error.reason === 'token-expired') throw refuse('token_expired', 'The token is expired: get a new one.')
    throw refuse('token_invalid', 'This is no valid token of this Clerk instance: compare CLERK_JWT_KEY.')
  }
  const header = JSON.parse(Buffer.from(token.split('.')[0], 'base64url')) // signed like the claims

  if (header.alg !== 'RS256') throw refuse('token_invalid', 'Clerk signs with RS256.')
  if (claims.iss !== process.env.CLERK_FRONTEND_API_URL) {
    throw refuse('token_invalid', 'The token has another issuer: compare CLERK_FRONTEND_API_URL.')
  }
  // A session token is good for the whole backend, and one for another service is good
  // there: this service could call them in the user's name.
  if (header.cat !== template || ![claims.aud].flat().includes(service)) {
    throw refuse('audience_mismatch', `This is not a token of JWT template '${service}': send that of getToken({template: '${service}'}), ` +
      `made with {"aud": "${service}"} in Clerk's dashboard → JWT templates.`)
  }
  // The page that asked for the token. A token that was made through the Backend API, as
  // the gateway's are, has no azp.
  if (claims.azp && !process.env.CLERK_AUTHORIZED_PARTIES.split(',').includes(claims.azp)) {
    throw refuse('token_invalid', 'The token was made for another origin: compare CLERK_AUTHORIZED_PARTIES.')
  }
  return { userId: claims.sub, orgId: claims.org_id }
}

// fromHeaders returns who calls behind a proxy that asked clerksync (nginx.conf,
// Caddyfile). Whoever can connect to this service can send these headers: only the proxy
// may reach it.
export async function fromHeaders(request) {
  const userId = request.get('x-clerk-user-id')
  if (!userId) throw refuse('token_missing', 'This service is reached through the gateway only.')
  return { userId, orgId: request.get('x-clerk-org-id') }
}

function refuse(code, detail) {
  return new Problem(401, code, detail)
}
