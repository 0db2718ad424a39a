CREATE TABLE "posts" (
    "id" UUID NOT NULL DEFAULT gen_random_uuid(),
    "title" TEXT NOT NULL,
    "author_id" UUID NOT NULL,
    "org_id" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(6) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "posts_pkey" PRIMARY KEY ("id")
);

CREATE INDEX "posts_org_id_created_at_idx" ON "posts"("org_id", "created_at" DESC);

ALTER TABLE "posts" ADD CONSTRAINT "posts_author_id_fkey" FOREIGN KEY ("author_id") REFERENCES "clerk"."users"("id") ON DELETE NO ACTION ON UPDATE NO ACTION;

ALTER TABLE "posts" ADD CONSTRAINT "posts_org_id_fkey" FOREIGN KEY ("org_id") REFERENCES "clerk"."organizations"("clerk_id") ON DELETE NO ACTION ON UPDATE NO ACTION;
