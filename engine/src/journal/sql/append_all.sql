-- A batch that also frees and takes claims, stores outcomes, and brings new subjects' keys. Never ON CONFLICT: a conflict
-- refuses the batch.
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
), freed AS (
    DELETE FROM claims c
     USING place, unnest($21::text[], $22::bytea[], $23::text[], $24::text[]) AS f (kind, value_hash, aggregate_type, aggregate_id)
     WHERE c.kind = f.kind AND c.value_hash = f.value_hash
       AND c.aggregate_type = f.aggregate_type AND c.aggregate_id = f.aggregate_id
), taken AS (
    INSERT INTO claims (kind, value_hash, aggregate_type, aggregate_id)
    SELECT t.kind, t.value_hash, t.aggregate_type, t.aggregate_id
      FROM place, unnest($25::text[], $26::bytea[], $27::text[], $28::text[])
           WITH ORDINALITY AS t (kind, value_hash, aggregate_type, aggregate_id, ordinal)
     ORDER BY t.ordinal
), answered AS (
    INSERT INTO command_outcomes (command_id, shard, aggregate_type, aggregate_id, fingerprint, position, outcome, recorded_at)
    SELECT o.command_id, $1::smallint, o.aggregate_type, o.aggregate_id, o.fingerprint, place.base + o.last_offset,
           o.outcome::json, place.recorded
      FROM place, unnest($29::uuid[], $30::text[], $31::text[], $32::bytea[], $33::bigint[], $34::text[])
           AS o (command_id, aggregate_type, aggregate_id, fingerprint, last_offset, outcome)
), kept AS (
    INSERT INTO subject_keys (kind, subject, version, wrapped, wrapped_under, created_at)
    SELECT k.kind, k.subject, k.version, k.wrapped, k.wrapped_under, place.recorded
      FROM place, unnest($35::text[], $36::uuid[], $37::integer[], $38::bytea[], $39::text[])
           WITH ORDINALITY AS k (kind, subject, version, wrapped, wrapped_under, ordinal)
     ORDER BY k.ordinal
)
SELECT base, recorded FROM place
