// A table of the application, beside the printed Drizzle tables.
import { pgTable, text, uuid } from "drizzle-orm/pg-core";
import { organizations, users } from "./generated/clerk.js";

export const posts = pgTable("posts", {
  id: uuid("id").primaryKey().defaultRandom(),
  title: text("title").notNull(),
  authorId: uuid("author_id").notNull().references(() => users.id),
  orgId: text("org_id").notNull().references(() => organizations.clerkId),
});
