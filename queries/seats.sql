-- name: SeatGetMany :batchmany
-- Returns the seats of the given users and organizations. The lock of the user's head
-- protects them. For OFFSET 0 see HeadGetMany.
SELECT s.*
FROM (
    SELECT unnest(@user_id::text[]) COLLATE "C" AS user_id, unnest(@org_id::text[]) COLLATE "C" AS org_id
) AS e
CROSS JOIN LATERAL (SELECT * FROM seats k WHERE k.user_id = e.user_id AND k.org_id = e.org_id OFFSET 0) AS s;

-- name: SeatWriteMany :exec
INSERT INTO seats (user_id, org_id, membership_id, membership_created_at)
SELECT unnest(@user_id::text[]), unnest(@org_id::text[]), unnest(@membership_id::text[]), unnest(@membership_created_at::timestamptz[])
ON CONFLICT (user_id, org_id) DO UPDATE SET
    membership_id = excluded.membership_id,
    membership_created_at = excluded.membership_created_at;

-- name: SeatGet :one
-- Returns the membership that has a seat.
SELECT membership_id FROM seats WHERE user_id = @user_id AND org_id = @org_id;
