import { notFound } from 'next/navigation'
import { tenant } from '../../../tenant'

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

export default async function Page({ params }: { params: Promise<{ id: string }> }) {
  const { db } = await tenant()
  const { id } = await params
  if (!uuid.test(id)) notFound()
  // Nothing here names the organization: the policy on the table does.
  const post = await db.post.findUnique({ where: { id }, include: { author: { select: { name: true } } } })
  if (!post) notFound()
  return (
    <article>
      <h1>{post.title}</h1>
      <p>{post.author?.name ?? 'A former member'}</p>
    </article>
  )
}
