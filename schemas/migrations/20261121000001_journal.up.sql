-- The journal, its claims and outcomes, and the audit ledger: what was promised to disk.

-- Runs as the owner. The server's role gets SELECT and INSERT on history and owns nothing.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tenantry_server') THEN
        CREATE ROLE tenantry_server NOLOGIN;
    END IF;
END $$;

-- One row: tells this journal from every other, also from an older copy behind the same address.
CREATE TABLE journal_identity (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    journal_id uuid        NOT NULL DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO journal_identity DEFAULT VALUES;

-- A shard's counter and lease. Positions are handed out under this row's lock, so they are dense and in commit order.
CREATE TABLE journal_shard (
    shard            smallint PRIMARY KEY,
    epoch            bigint      NOT NULL DEFAULT 0,
    last_position    bigint      NOT NULL DEFAULT 0,
    last_batch_id    uuid,
    last_recorded_at timestamptz NOT NULL DEFAULT '-infinity',
    owner            uuid,
    lease_until      timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO journal_shard (shard) VALUES (0);

-- A tenant's or person's id gives a slice (0-255), slices map to shards.
CREATE TABLE shard_slice (
    slice smallint PRIMARY KEY CHECK (slice BETWEEN 0 AND 255),
    shard smallint NOT NULL REFERENCES journal_shard
);
INSERT INTO shard_slice SELECT slice, 0 FROM generate_series(0, 255) AS slice;

-- The journal: a superset of the table postgres-es writes (its first seven columns and its primary key).
-- payload and metadata are json, not jsonb: the bytes stay as they were written.
CREATE TABLE events (
    aggregate_type   text        NOT NULL,
    aggregate_id     text        NOT NULL,
    sequence         bigint      NOT NULL CHECK (sequence > 0),
    event_type       text        NOT NULL,
    event_version    text        NOT NULL,
    payload          json        NOT NULL,
    metadata         json        NOT NULL,
    shard            smallint    NOT NULL,
    position         bigint      NOT NULL CHECK (position > 0),
    tenant           uuid,
    event_id         uuid        NOT NULL,
    index_in_command smallint    NOT NULL,
    actor            text        NOT NULL,
    role             text        NOT NULL,
    correlation_id   uuid        NOT NULL,
    causation_id     uuid,
    recorded_at      timestamptz NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence)
);
CREATE UNIQUE INDEX events_position ON events (shard, position);

-- Names held by one stream only. The value is a keyed hash: it can be an e-mail address.
CREATE TABLE claims (
    kind             text     NOT NULL,
    value_hash       bytea    NOT NULL,
    hash_key_version smallint NOT NULL DEFAULT 1,
    aggregate_type   text     NOT NULL,
    aggregate_id     text     NOT NULL,
    PRIMARY KEY (kind, value_hash)
);

-- The answers to commands that carried an id: kept 24 hours, so that a retry hears the same and does nothing.
CREATE TABLE command_outcomes (
    command_id     uuid PRIMARY KEY,
    shard          smallint    NOT NULL,
    aggregate_type text        NOT NULL,
    aggregate_id   text        NOT NULL,
    fingerprint    bytea       NOT NULL,
    position       bigint,
    outcome        json        NOT NULL,
    recorded_at    timestamptz NOT NULL
);
CREATE INDEX command_outcomes_recorded_at ON command_outcomes (recorded_at);

-- Cached state. Names the event it ends at, which is checked when it is loaded.
CREATE TABLE aggregate_snapshots (
    aggregate_type   text        NOT NULL,
    aggregate_id     text        NOT NULL,
    snapshot_version integer     NOT NULL,
    sequence         bigint      NOT NULL,
    event_id         uuid        NOT NULL,
    state            json        NOT NULL,
    taken_at         timestamptz NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id)
);

-- The counters of the ledgers; every node may append, under this row's lock.
CREATE TABLE ledger_shard (
    ledger           text        NOT NULL,
    shard            smallint    NOT NULL,
    last_position    bigint      NOT NULL DEFAULT 0,
    last_recorded_at timestamptz NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (ledger, shard)
);
INSERT INTO ledger_shard (ledger, shard) VALUES ('audit', 0);

-- The audit ledger: refusals, failures and audited reads, which are no events. Partitioned by month; only retention drops partitions.
CREATE TABLE audit_ledger (
    shard          smallint    NOT NULL,
    position       bigint      NOT NULL CHECK (position > 0),
    entry_id       uuid        NOT NULL,
    occurred_at    timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL,
    tenant         uuid,
    actor_kind     text        NOT NULL,
    actor          text        NOT NULL,
    role           text        NOT NULL,
    action         text        NOT NULL,
    outcome        text        NOT NULL CHECK (outcome IN ('success', 'failure', 'denied')),
    correlation_id uuid        NOT NULL,
    metadata       json        NOT NULL,
    payload        json        NOT NULL,
    PRIMARY KEY (occurred_at, entry_id)
) PARTITION BY RANGE (occurred_at);
CREATE INDEX audit_ledger_position ON audit_ledger (shard, position);
CREATE TABLE audit_ledger_default PARTITION OF audit_ledger DEFAULT;

-- Refuses to rewrite history, whoever asks.
CREATE FUNCTION refuse_rewriting_history() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    RAISE EXCEPTION '% on % is refused: history is only ever appended to', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'TN100';
END
$$;
CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();
CREATE TRIGGER audit_ledger_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_ledger
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();
CREATE TRIGGER audit_ledger_default_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_ledger_default
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();

-- Hands out the next n positions of a shard. A wrong epoch is an error, so that nothing else of the transaction commits.
CREATE FUNCTION journal_advance(in_shard smallint, in_epoch bigint, in_count bigint, in_batch_id uuid, in_now timestamptz)
    RETURNS TABLE (base bigint, recorded timestamptz)
    LANGUAGE plpgsql AS
$$
BEGIN
    UPDATE journal_shard
       SET last_position    = last_position + in_count,
           last_batch_id    = in_batch_id,
           last_recorded_at = GREATEST(last_recorded_at, in_now)
     WHERE shard = in_shard AND epoch = in_epoch
    RETURNING last_position - in_count, last_recorded_at INTO base, recorded;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'shard % is no longer owned at epoch %', in_shard, in_epoch USING ERRCODE = 'TN001';
    END IF;
    RETURN NEXT;
END
$$;

-- Hands out the next n positions of a ledger.
CREATE FUNCTION ledger_advance(in_ledger text, in_shard smallint, in_count bigint, in_now timestamptz)
    RETURNS TABLE (base bigint, recorded timestamptz)
    LANGUAGE plpgsql AS
$$
BEGIN
    UPDATE ledger_shard
       SET last_position = last_position + in_count, last_recorded_at = GREATEST(last_recorded_at, in_now)
     WHERE ledger = in_ledger AND shard = in_shard
    RETURNING last_position - in_count, last_recorded_at INTO base, recorded;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no ledger % with shard %', in_ledger, in_shard USING ERRCODE = 'TN002';
    END IF;
    RETURN NEXT;
END
$$;

-- Makes the month's partition of the audit ledger; the server owns nothing, so the owner's rights are lent for this alone.
CREATE FUNCTION ensure_audit_partition(in_month date) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS
$$
DECLARE
    first_day date := date_trunc('month', in_month)::date;
    partition text := 'audit_ledger_' || to_char(first_day, 'YYYY_MM');
BEGIN
    IF to_regclass(partition) IS NULL THEN
        EXECUTE format('CREATE TABLE %I PARTITION OF audit_ledger FOR VALUES FROM (%L) TO (%L)',
            partition, first_day::timestamptz, (first_day + interval '1 month')::timestamptz);
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history()',
            partition || '_append_only', partition);
    END IF;
END
$$;
REVOKE ALL ON FUNCTION ensure_audit_partition(date) FROM PUBLIC;

GRANT SELECT ON journal_identity, shard_slice TO tenantry_server;
GRANT SELECT, UPDATE ON journal_shard, ledger_shard TO tenantry_server;
GRANT SELECT, INSERT ON events, audit_ledger TO tenantry_server;
GRANT SELECT, INSERT, DELETE ON claims, command_outcomes TO tenantry_server;
GRANT SELECT, INSERT, UPDATE, DELETE ON aggregate_snapshots TO tenantry_server;
GRANT EXECUTE ON FUNCTION ensure_audit_partition(date) TO tenantry_server;
