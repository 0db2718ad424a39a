-- +goose Up

-- Every insert of a user paid for it, and only the search for an address used it: two other
-- indexes find its holder, and those who wait for it.
DROP INDEX users_primary_email_idx;

-- +goose Down
CREATE INDEX users_primary_email_idx ON users (primary_email) WHERE primary_email IS NOT NULL;
