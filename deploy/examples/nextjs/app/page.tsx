import { UserButton } from '@clerk/nextjs'
import { auth } from '@clerk/nextjs/server'
import { findUser } from '../db'

export default async function Page() {
  const { userId } = await auth.protect() // without a session: to the sign-in page
  const user = await findUser(userId)
  if (!user) {
    // A sign-up is in the tables a moment after its webhook.
    return (
      <p>
        <meta httpEquiv="refresh" content="2" />
        Your account is being set up.
      </p>
    )
  }
  return (
    <main>
      <UserButton />
      <h1>{user.name}</h1>
      <p>{user.email}</p>
      <ul>
        {user.organizations.map(({ id, name, role }) => (
          <li key={id}>{`${name}, ${role}`}</li>
        ))}
      </ul>
    </main>
  )
}
