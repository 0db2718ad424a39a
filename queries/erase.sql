-- name: EraseBegin :execrows
UPDATE entity_heads SET erasing = true WHERE kind = 'user' AND clerk_id = @clerk_id AND deleted;

-- name: EraseFinish :execrows
UPDATE entity_heads SET erasing = false, erased_at = now() WHERE kind = 'user' AND clerk_id = @clerk_id AND erasing;

-- name: EraseDueMany :many
-- Returns the deleted users that are not erased and whose delete was applied before a time,
-- the oldest first. The time is not Clerk's: a delete that arrives late, or from an import,
-- can be restored for as long as any other. The index has only users that are not erased,
-- so reading all of it is cheap.
SELECT clerk_id FROM entity_heads
WHERE kind = 'user' AND deleted AND erased_at IS NULL AND applied_at < @deleted_before
ORDER BY applied_at, clerk_id
LIMIT @max_count;

-- name: EraseAllAgain :exec
-- Lets the sweeper erase all deleted users again: the marks are about another log.
UPDATE entity_heads SET erasing = false, erased_at = NULL WHERE kind = 'user' AND deleted AND (erasing OR erased_at IS NOT NULL);
