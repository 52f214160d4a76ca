-- Keeps the newest snapshot of a stream; another version of the state always gives way.
INSERT INTO aggregate_snapshots (aggregate_type, aggregate_id, snapshot_version, sequence, event_id, state, taken_at)
VALUES ($1, $2, $3, $4, $5, $6::text::json, $7)
ON CONFLICT (aggregate_type, aggregate_id) DO UPDATE
   SET snapshot_version = EXCLUDED.snapshot_version, sequence = EXCLUDED.sequence, event_id = EXCLUDED.event_id,
       state = EXCLUDED.state, taken_at = EXCLUDED.taken_at
 WHERE aggregate_snapshots.sequence < EXCLUDED.sequence
    OR aggregate_snapshots.snapshot_version <> EXCLUDED.snapshot_version
