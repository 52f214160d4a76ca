-- When a position was taken.
SELECT recorded_at FROM events WHERE shard = $1 AND position = $2
