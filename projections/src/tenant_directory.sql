-- One row per tenant: what operators list, and what a tenant sees of itself.
CREATE TABLE {tenant_directory} (
    id                         uuid PRIMARY KEY,
    name                       text, -- null when forgotten, as every text a tenant supplied
    slug                       text,
    domain                     text,
    plan                       text        NOT NULL,
    status                     text        NOT NULL,
    access_mode                text        NOT NULL,
    region                     text        NOT NULL,
    settings                   jsonb,
    trial_ends_at              timestamptz,
    suspension_reason          text,
    provisioning_status        text        NOT NULL,
    provisioning_failed_step   text,
    provisioning_failed_reason text,
    unverified                 boolean     NOT NULL, -- blocked until its owner's address is verified
    owners                     uuid[]      NOT NULL,
    applications               uuid[]      NOT NULL,
    created_at                 timestamptz NOT NULL,
    created_by                 text        NOT NULL,
    updated_at                 timestamptz NOT NULL,
    updated_by                 text        NOT NULL,
    revision                   bigint      NOT NULL -- what its ETag says
);
CREATE INDEX {tenant_directory:created_at} ON {tenant_directory} (created_at, id);
CREATE INDEX {tenant_directory:name} ON {tenant_directory} (coalesce(name, ''), id);
CREATE INDEX {tenant_directory:domain} ON {tenant_directory} (coalesce(domain, ''), id);
