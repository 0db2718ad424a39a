import { OrganizationSwitcher } from '@clerk/nextjs'
import { revalidatePath } from 'next/cache'
import Link from 'next/link'
import { tenant } from '../tenant'

export default async function Page() {
  const { db, orgId } = await tenant()
  const organization = await db.organization.findUnique({ where: { clerkId: orgId } })
  if (!organization) {
    // The row decides, not the token, which is good for another minute.
    return <p>You are not a member of this organization, or clerksync has not applied it yet.</p>
  }
  const posts = await db.post.findMany({
    where: { orgId },
    orderBy: { createdAt: 'desc' },
    take: 50,
    select: { id: true, title: true, author: { select: { name: true } } },
  })
  return (
    <main>
      <OrganizationSwitcher hidePersonal afterSelectOrganizationUrl="/" />
      <h1>{organization.name}</h1>
      <form action={createPost}>
        <input name="title" required maxLength={200} aria-label="Title" />
        <button>Post</button>
      </form>
      <ul>
        {posts.map(({ id, title, author }) => (
          <li key={id}>
            <Link href={`/posts/${id}`}>{`${title}, by ${author?.name ?? 'a former member'}`}</Link>
          </li>
        ))}
      </ul>
    </main>
  )
}

async function createPost(form: FormData) {
  'use server'
  const { db, orgId, userId } = await tenant() // an action is an endpoint of its own
  const title = String(form.get('title')).trim().slice(0, 200)
  if (!title) return
  await db.post.create({
    data: { title, author: { connect: { clerkId: userId } }, organization: { connect: { clerkId: orgId } } },
  })
  revalidatePath('/')
}
