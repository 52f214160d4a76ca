-- The journal of one shard between two positions, in commit order; of all streams, or of some aggregate types. Columns as
-- in load_stream.sql.
SELECT shard, position, sequence, event_type, event_version, payload::text, metadata::text, tenant, event_id,
       index_in_command, actor, role, correlation_id, causation_id, recorded_at, aggregate_type, aggregate_id
  FROM events
 WHERE shard = $1 AND position > $2 AND position <= $3 AND ($4::text[] IS NULL OR aggregate_type = ANY ($4))
 ORDER BY position
