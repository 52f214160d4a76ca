-- Which applications a tenant uses: only those may poll its flags.
CREATE TABLE {tenant_applications} (
    tenant       uuid        NOT NULL,
    application  uuid        NOT NULL,
    connected_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, application)
);
CREATE INDEX {tenant_applications:application} ON {tenant_applications} (application, tenant);
