-- name: BackfillLock :one
-- Takes the lock of the one backfill that runs; it ends with the session.
SELECT pg_try_advisory_lock(hashtextextended('clerksync backfill ' || @schema_name::text, 0)) AS locked;

-- name: BackfillGet :one
SELECT * FROM backfill_run;

-- name: BackfillCreate :exec
INSERT INTO backfill_run (instance_id, log_id, started_at) VALUES (@instance_id, @log_id, @started_at);

-- name: BackfillSegmentCreateMany :exec
INSERT INTO backfill_segments (kind, segment, position)
SELECT unnest(@kind::text[]), unnest(@segment::integer[]), unnest(@position::jsonb[]);

-- name: BackfillSegmentList :many
SELECT * FROM backfill_segments ORDER BY kind, segment;

-- name: BackfillSegmentUpdate :exec
UPDATE backfill_segments SET position = @position, read = @read, refused = @refused, done = @done
WHERE kind = @kind AND segment = @segment;

-- name: BackfillMembersMany :exec
-- Notes how many members Clerk counts in organizations. Ids must be unique.
INSERT INTO backfill_organizations AS o (clerk_id, members)
SELECT unnest(@clerk_id::text[]) COLLATE "C", unnest(@members::bigint[])
ORDER BY 1
ON CONFLICT (clerk_id) DO UPDATE SET members = excluded.members;

-- name: BackfillReadMany :exec
-- Adds memberships that were read. Ids must be unique.
INSERT INTO backfill_organizations AS o (clerk_id, read)
SELECT unnest(@clerk_id::text[]) COLLATE "C", unnest(@read::bigint[])
ORDER BY 1
ON CONFLICT (clerk_id) DO UPDATE SET read = o.read + excluded.read;

-- name: BackfillDifferingList :many
SELECT clerk_id FROM backfill_organizations WHERE members <> read ORDER BY clerk_id;

-- name: BackfillRunDelete :exec
DELETE FROM backfill_run;

-- name: BackfillSegmentDelete :exec
DELETE FROM backfill_segments;

-- name: BackfillOrganizationDelete :exec
DELETE FROM backfill_organizations;

-- name: SessionUnlock :exec
-- Gives back the locks of a session. Its end does so too, but a moment later.
SELECT pg_advisory_unlock_all();
