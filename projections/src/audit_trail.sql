-- The audit trail: who did what, also what was refused. One row per command that made events, and per ledger entry.
CREATE TABLE {audit_trail} (
    id             uuid PRIMARY KEY,
    recorded_at    timestamptz NOT NULL,
    actor          text        NOT NULL,
    actor_kind     text        NOT NULL,
    role           text        NOT NULL,
    scopes         text[]      NOT NULL,
    tenant         uuid,
    action         text        NOT NULL,
    resource_type  text,
    resource_id    text,
    outcome        text        NOT NULL,
    status         integer,
    code           text,
    detail         text,
    count          bigint      NOT NULL,
    event_id       uuid,
    event_type     text,
    correlation_id uuid        NOT NULL,
    address        text,
    user_agent     text
);
CREATE INDEX {audit_trail:recorded_at} ON {audit_trail} (recorded_at, id);
CREATE INDEX {audit_trail:tenant_recorded_at} ON {audit_trail} (tenant, recorded_at, id);
CREATE INDEX {audit_trail:actor_recorded_at} ON {audit_trail} (actor, recorded_at, id);
-- What happened to a tenant itself stands in the tenant's own index: a second one would say the same, at the price of the first.
CREATE INDEX {audit_trail:resource_recorded_at} ON {audit_trail} (resource_id, recorded_at, id)
    WHERE resource_id IS DISTINCT FROM tenant::text;
CREATE INDEX {audit_trail:correlation_id} ON {audit_trail} (correlation_id);
-- Who was forgotten: looked up for each entry that says where somebody came from.
CREATE INDEX {audit_trail:forgotten} ON {audit_trail} (resource_id) WHERE event_type = 'user.subject_forgotten';
