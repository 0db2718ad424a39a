-- +goose Up

-- Of a user that claims an address and does not hold it: its version, written so that it
-- sorts. NULL for all others, so that their updates touch no index. An older clerksync and
-- operators do not write it; a row without it is ranked when its address is decided again.
ALTER TABLE users ADD COLUMN email_rank text COLLATE "C";

-- Finds the best of the users that wait for an address without reading the others. It is
-- on an expression so that the planner cannot use users_primary_email_idx instead, which
-- has all claimants.
CREATE INDEX users_waiting_idx ON users ((primary_email || ''), email_rank DESC) WHERE email IS DISTINCT FROM primary_email;

-- +goose Down
DROP INDEX users_waiting_idx;
ALTER TABLE users DROP COLUMN email_rank;
