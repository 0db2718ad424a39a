-- +goose Up

-- A view reads its tables with the rights of the role that queries it, so that it is no
-- way around a missing grant, or around row-level security.
ALTER VIEW active_users SET (security_invoker = true);
ALTER VIEW active_organizations SET (security_invoker = true);
ALTER VIEW sync_lag SET (security_invoker = true);
ALTER VIEW entity_freshness SET (security_invoker = true);

-- +goose Down
ALTER VIEW entity_freshness RESET (security_invoker);
ALTER VIEW sync_lag RESET (security_invoker);
ALTER VIEW active_organizations RESET (security_invoker);
ALTER VIEW active_users RESET (security_invoker);
