-- One row per managed application.
CREATE TABLE {application_directory} (
    id            uuid PRIMARY KEY,
    name          text        NOT NULL,
    owner         text        NOT NULL,
    environment   text        NOT NULL,
    redirect_uris text[]      NOT NULL,
    status        text        NOT NULL,
    created_at    timestamptz NOT NULL,
    created_by    text        NOT NULL,
    updated_at    timestamptz NOT NULL,
    updated_by    text        NOT NULL,
    sequence      bigint      NOT NULL
);
CREATE INDEX {application_directory:created_at} ON {application_directory} (created_at, id);
CREATE INDEX {application_directory:name} ON {application_directory} (name, id);

-- One row per API key, revoked ones included. A secret's hash never leaves the journal and the access memory.
CREATE TABLE {application_keys} (
    id          uuid PRIMARY KEY,
    application uuid        NOT NULL,
    prefix      text        NOT NULL,
    scopes      text[]      NOT NULL,
    status      text        NOT NULL,
    expires_at  timestamptz,
    revoked_at  timestamptz,
    created_at  timestamptz NOT NULL,
    created_by  text        NOT NULL,
    updated_at  timestamptz NOT NULL,
    updated_by  text        NOT NULL
);
CREATE INDEX {application_keys:application_created_at} ON {application_keys} (application, created_at, id);
