import { OrganizationList, TaskChooseOrganization } from '@clerk/nextjs'
import { auth } from '@clerk/nextjs/server'

// This page must not call tenant() or auth.protect(): it is where both send people, and they
// would be sent around in a circle.
export default async function Page() {
  // Where the instance requires an organization, the session is pending until one is chosen.
  const { sessionStatus } = await auth({ treatPendingAsSignedOut: false })
  return (
    <main>
      <h1>Choose an organization</h1>
      {sessionStatus === 'pending' ? (
        <TaskChooseOrganization redirectUrlComplete="/" />
      ) : (
        <OrganizationList hidePersonal afterSelectOrganizationUrl="/" afterCreateOrganizationUrl="/" />
      )}
    </main>
  )
}
