-- One row per membership: a person in a tenant. The token's hash stays in the journal.
CREATE TABLE {membership_directory} (
    id                    uuid PRIMARY KEY,
    tenant                uuid        NOT NULL,
    person                uuid        NOT NULL,
    role                  text        NOT NULL,
    kind                  text        NOT NULL,
    status                text        NOT NULL,
    invitation_expires_at timestamptz,
    created_at            timestamptz NOT NULL,
    created_by            text        NOT NULL,
    updated_at            timestamptz NOT NULL,
    updated_by            text        NOT NULL,
    sequence              bigint      NOT NULL
);
CREATE INDEX {membership_directory:tenant_created_at} ON {membership_directory} (tenant, created_at, id);
CREATE INDEX {membership_directory:created_at} ON {membership_directory} (created_at, id);
CREATE INDEX {membership_directory:person} ON {membership_directory} (person, tenant);
