-- One row per role that a tenant made, for its lists; deleted ones stay, unseen, so that a late event finds its row.
CREATE TABLE {role_directory} (
    id          uuid PRIMARY KEY,
    tenant      uuid        NOT NULL,
    name        text        NOT NULL, -- empty when forgotten, until the tenant's rows go
    description text,
    permissions text[]      NOT NULL,
    deleted     boolean     NOT NULL,
    created_at  timestamptz NOT NULL,
    created_by  text        NOT NULL,
    updated_at  timestamptz NOT NULL,
    updated_by  text        NOT NULL,
    sequence    bigint      NOT NULL
);
CREATE INDEX {role_directory:tenant_name} ON {role_directory} (tenant, name, id);
CREATE INDEX {role_directory:tenant_created_at} ON {role_directory} (tenant, created_at, id);
