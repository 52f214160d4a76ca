-- The journal of one shard after a position, in commit order.
SELECT shard, position, sequence, event_type, event_version, payload::text, metadata::text, tenant, event_id,
       index_in_command, actor, role, correlation_id, causation_id, recorded_at, aggregate_type, aggregate_id
  FROM events
 WHERE shard = $1 AND position > $2
 ORDER BY position
 LIMIT $3
