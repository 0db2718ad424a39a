import { readFileSync } from "node:fs";
import { defineConfig } from "prisma/config";

export default defineConfig({
  schema: "generated/prisma",
  experimental: { externalTables: true },
  tables: { external: ["clerk.users", "clerk.organizations", "clerk.org_memberships"] },
  migrations: { initShadowDb: readFileSync("generated/clerk.sql", "utf8") },
});
