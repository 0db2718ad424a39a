import { readFileSync } from 'node:fs'
import { defineConfig } from 'prisma/config'

export default defineConfig({
  schema: 'prisma',
  experimental: { externalTables: true },
  tables: {
    external: [
      'clerk.users',
      'clerk.organizations',
      'clerk.org_memberships',
      'clerk.backfill_organizations',
      'clerk.backfill_run',
      'clerk.backfill_segments',
      'clerk.clerksync_migrations',
      'clerk.clerksync_rls_migrations',
      'clerk.entity_heads',
      'clerk.event_log',
      'clerk.seats',
      'clerk.sync_status',
    ],
  },
  migrations: { path: 'prisma/migrations', initShadowDb: readFileSync('prisma/clerk.sql', 'utf8') },
  datasource: { url: process.env.MIGRATE_DATABASE_URL },
})
