-- One batch of events: takes their positions under the shard's row lock and inserts them in the same statement.
WITH place AS MATERIALIZED (
    SELECT base, recorded FROM journal_advance($1::smallint, $2::bigint, $3::bigint, $4::uuid, $5::timestamptz, $6::uuid)
), appended AS (
    INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
                        shard, position, tenant, event_id, index_in_command, actor, role,
                        correlation_id, causation_id, recorded_at)
    SELECT e.aggregate_type, e.aggregate_id, e.sequence, e.event_type, e.event_version, e.payload::json, e.metadata::json,
           $1::smallint, place.base + e.ordinal, e.tenant, e.event_id, e.index_in_command, e.actor, e.role,
           e.correlation_id, e.causation_id, place.recorded
      FROM place,
           unnest($7::text[], $8::text[], $9::bigint[], $10::text[], $11::text[], $12::text[], $13::text[],
                  $14::uuid[], $15::uuid[], $16::smallint[], $17::text[], $18::text[], $19::uuid[], $20::uuid[])
           WITH ORDINALITY AS e (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
                                 tenant, event_id, index_in_command, actor, role, correlation_id, causation_id, ordinal)
)
SELECT base, recorded FROM place
