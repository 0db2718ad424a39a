// Hands deliveries on to clerksync, which verifies and stores them before it answers. The
// signature covers the bytes of the body: parsing it and writing it again breaks it.

const maxBody = 1 << 20 // as clerksync
const timeout = 12_000 // ms: clerksync answers within 10 s, Svix waits for 15 s

export async function POST(request: Request) {
  const body = await read(request)
  if (!body) return new Response('the body is larger than 1 MiB\n', { status: 413 })
  try {
    const answer = await fetch(process.env.CLERKSYNC_URL!, {
      method: 'POST',
      headers: pick(request.headers, 'content-type', 'svix-id', 'svix-timestamp', 'svix-signature'),
      body,
      redirect: 'manual',
      signal: AbortSignal.timeout(timeout),
    })
    return new Response(answer.body, {
      status: answer.status,
      headers: pick(answer.headers, 'content-type', 'retry-after', 'clerksync-reason'),
    })
  } catch (error) {
    // Svix sends the delivery again after anything but 2xx, for 28 hours.
    console.error('clerksync does not answer, see CLERKSYNC_URL:', String((error as Error).cause ?? error))
    return new Response('clerksync does not answer\n', { status: 503, headers: { 'retry-after': '5' } })
  }
}

// The body, or undefined when it is too large.
async function read(request: Request) {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of request.body ?? []) {
    size += chunk.length
    if (size > maxBody) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function pick(headers: Headers, ...names: string[]) {
  return [...headers].filter(([name]) => names.includes(name))
}
