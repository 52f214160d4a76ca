-- A snapshot of the wanted version, if the event it names still stands where it says.
SELECT s.sequence, s.event_id, s.state::text
  FROM aggregate_snapshots s
  JOIN events e ON e.aggregate_type = s.aggregate_type AND e.aggregate_id = s.aggregate_id
               AND e.sequence = s.sequence AND e.event_id = s.event_id
 WHERE s.aggregate_type = $1 AND s.aggregate_id = $2 AND s.snapshot_version = $3
