-- Our journal's order: positions from 1 without a gap or a double, and the shard's counter at the last of them.
SELECT coalesce(min(position), 1) AS first, coalesce(max(position), 0) AS last, count(DISTINCT position) AS distinct_positions,
       (SELECT last_position FROM journal_shard WHERE shard = 0) AS counter
  FROM events
