-- A page of one stream, up to a position. Columns as in read_feed.sql; `rows.rs` counts on their places.
SELECT shard, position, sequence, event_type, event_version, payload::text, metadata::text, tenant, event_id,
       index_in_command, actor, role, correlation_id, causation_id, recorded_at, aggregate_type, aggregate_id
  FROM events
 WHERE aggregate_type = $1 AND aggregate_id = $2 AND sequence > $3 AND position <= $4
 ORDER BY sequence
 LIMIT $5
