-- What was appended to our journal after a position: the measured events, in how many transactions, streams with gaps
-- within it; positions without a gap or a double, and the shard's counter at the last of them.
WITH news AS (SELECT * FROM (SELECT xmin::text AS transaction, * FROM events) AS e WHERE shard = 0 AND position > $1)
SELECT count(*) AS events,
       count(*) FILTER (WHERE event_type = 'tenant.flag_set') AS flags_set,
       count(DISTINCT transaction) FILTER (WHERE event_type = 'tenant.flag_set') AS transactions,
       coalesce(min(position), $1 + 1) - $1 AS first,
       coalesce(max(position), $1) - $1 AS last,
       count(DISTINCT position) AS distinct_positions,
       (SELECT last_position FROM journal_shard WHERE shard = 0) - $1 AS counter,
       (SELECT count(*)
          FROM (SELECT FROM news
                 GROUP BY aggregate_type, aggregate_id
                HAVING max(sequence) - min(sequence) + 1 <> count(*) OR count(DISTINCT sequence) <> count(*)) AS broken)
           AS streams_with_gaps
  FROM news
