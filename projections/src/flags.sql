-- One row per flag that is set for a tenant. Polls are answered from memory; this is for lists.
CREATE TABLE {flags} (
    tenant     uuid        NOT NULL,
    key        text        NOT NULL,
    type       text        NOT NULL,
    value      jsonb, -- null when forgotten
    updated_at timestamptz NOT NULL,
    updated_by text        NOT NULL,
    PRIMARY KEY (tenant, key)
) WITH (fillfactor = 70); -- room to set a flag where it is

-- Which applications a tenant uses: only those may poll its flags.
CREATE TABLE {tenant_applications} (
    tenant       uuid        NOT NULL,
    application  uuid        NOT NULL,
    connected_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, application)
);
CREATE INDEX {tenant_applications:application} ON {tenant_applications} (application, tenant);
