import { STATUS_CODES } from 'node:http'

// An answer that is an error: application/problem+json (RFC 9457), with a code for
// programs and, in the detail, the next step for a person.
export class Problem extends Error {
  constructor(status, code, detail, retryAfter) {
    super(detail)
    Object.assign(this, { status, code, retryAfter })
  }
}

// problems answers with the Problem that a handler threw. Of any other error it logs the
// name and code, and no message: that can hold data.
export function problems(service) {
  return (error, request, response, next) => {
    if (!(error instanceof Problem)) {
      const refused = error.status >= 400 && error.status < 500 // by Express: a body that is too large, for one
      if (!refused) console.error(`${service}: ${error.name} ${error.code ?? ''}`)
      error = refused ? new Problem(error.status, 'request_refused', STATUS_CODES[error.status])
        : new Problem(500, 'internal', `The service ${service} failed: see its log.`)
    }
    const { status, code, message: detail, retryAfter } = error
    if (retryAfter) response.set('retry-after', String(retryAfter))
    response.status(status).type('application/problem+json')
    response.send(JSON.stringify({ title: STATUS_CODES[status], status, code, detail }))
  }
}
