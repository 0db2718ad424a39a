// What a mobile app does, as a command: asks for the profile with the token in CLERK_TOKEN.
// In an Expo app: const { getToken } = useAuth(), and API_URL is the address of the backend.

const { API_URL = 'http://localhost:3000', CLERK_TOKEN } = process.env

async function getProfile(getToken) {
  for (let attempt = 1; ; attempt++) {
    // There are no cookies to carry the token, and it lives for a minute: getToken returns
    // one that is fresh.
    const token = await getToken()
    const answer = await fetch(`${API_URL}/api/profile`, { headers: token ? { Authorization: `Bearer ${token}` } : {} })
    if (answer.status !== 503 || attempt === 5) return answer
    await new Promise((resolve) => setTimeout(resolve, 1000 * (answer.headers.get('Retry-After') ?? 1)))
  }
}

const answer = await getProfile(async () => CLERK_TOKEN)
console.log(answer.status, await answer.text())
