-- One row per person, whatever tenants they belong to.
CREATE TABLE {user_directory} (
    id         uuid PRIMARY KEY,
    email      text, -- null when forgotten, as every text about a person
    first_name text,
    last_name  text,
    status     text        NOT NULL,
    verified   boolean     NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text        NOT NULL,
    updated_at timestamptz NOT NULL,
    updated_by text        NOT NULL,
    revision   bigint      NOT NULL
);
CREATE INDEX {user_directory:created_at} ON {user_directory} (created_at, id);
CREATE INDEX {user_directory:email} ON {user_directory} (coalesce(email, ''), id);
CREATE INDEX {user_directory:last_name} ON {user_directory} (coalesce(last_name, ''), id);
