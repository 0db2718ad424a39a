-- name: EraseBegin :execrows
UPDATE entity_heads SET erasing = true WHERE kind = 'user' AND clerk_id = @clerk_id AND deleted;

-- name: EraseFinish :execrows
UPDATE entity_heads SET erasing = false, erased_at = now() WHERE kind = 'user' AND clerk_id = @clerk_id AND erasing;

-- name: EraseUndoMany :exec
-- See HeadAdvanceMany.
UPDATE entity_heads SET erasing = false, erased_at = NULL WHERE kind = 'user' AND clerk_id = ANY(@clerk_id::text[]);

-- name: EraseDueMany :many
-- The deleted users that are not erased yet and were deleted here before a time, the
-- first deleted first. Not by Clerk's time of the delete: one that arrives late, or
-- from an import, can be taken back for as long as any other. It reads all that are
-- not erased yet, which is what the index has.
SELECT clerk_id FROM entity_heads
WHERE kind = 'user' AND deleted AND erased_at IS NULL AND applied_at < @deleted_before
ORDER BY applied_at, clerk_id
LIMIT @max_count;
