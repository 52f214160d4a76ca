-- One batch of audit entries: takes their positions under the ledger's row lock and inserts them in the same statement.
WITH place AS MATERIALIZED (
    SELECT base, recorded FROM ledger_advance('audit', $1::smallint, $2::bigint, $3::timestamptz)
), appended AS (
    INSERT INTO audit_ledger (shard, position, entry_id, occurred_at, recorded_at, tenant, actor_kind, actor, role,
                              action, outcome, correlation_id, metadata, payload)
    SELECT $1::smallint, place.base + e.ordinal, e.entry_id, e.occurred_at, place.recorded, e.tenant, e.actor_kind,
           e.actor, e.role, e.action, e.outcome, e.correlation_id, e.metadata::json, e.payload::json
      FROM place,
           unnest($4::uuid[], $5::timestamptz[], $6::uuid[], $7::text[], $8::text[], $9::text[], $10::text[],
                  $11::text[], $12::uuid[], $13::text[], $14::text[])
           WITH ORDINALITY AS e (entry_id, occurred_at, tenant, actor_kind, actor, role, action, outcome,
                                 correlation_id, metadata, payload, ordinal)
)
SELECT base, recorded FROM place
