-- Keeps the newest snapshot of each stream; another version of the state always gives way. What is lost of them can be
-- made again: their commit waits for no disk, and does not stand in line with those that do.
WITH unhurried AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
INSERT INTO aggregate_snapshots (aggregate_type, aggregate_id, snapshot_version, sequence, event_id, state, taken_at)
SELECT s.aggregate_type, s.aggregate_id, s.snapshot_version, s.sequence, s.event_id, s.state::json, $7
  FROM unhurried,
       unnest($1::text[], $2::text[], $3::integer[], $4::bigint[], $5::uuid[], $6::text[])
       AS s (aggregate_type, aggregate_id, snapshot_version, sequence, event_id, state)
ON CONFLICT (aggregate_type, aggregate_id) DO UPDATE
   SET snapshot_version = EXCLUDED.snapshot_version, sequence = EXCLUDED.sequence, event_id = EXCLUDED.event_id,
       state = EXCLUDED.state, taken_at = EXCLUDED.taken_at
 WHERE aggregate_snapshots.sequence < EXCLUDED.sequence
    OR aggregate_snapshots.snapshot_version <> EXCLUDED.snapshot_version
