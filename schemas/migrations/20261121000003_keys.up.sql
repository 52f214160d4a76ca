-- The deployment's keys, each wrapped (AES-256-GCM, bound to kid and purpose) under the master key, which is not here.
CREATE TABLE wrapped_keys (
    kid        text PRIMARY KEY,
    purpose    text        NOT NULL,
    wrapped    bytea       NOT NULL,
    created_at timestamptz NOT NULL,
    -- When it verifies nothing any more; null for keys that outlive whatever they made.
    not_after  timestamptz,
    -- Since when it makes nothing new.
    retired_at timestamptz
);
-- One of each purpose is in use: of two nodes that make the first one at once, one takes over the other's.
CREATE UNIQUE INDEX wrapped_keys_in_use ON wrapped_keys (purpose) WHERE retired_at IS NULL;

GRANT SELECT, INSERT ON wrapped_keys TO tenantry_server;
GRANT UPDATE (retired_at, not_after) ON wrapped_keys TO tenantry_server;
