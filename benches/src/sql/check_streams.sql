-- What a journal must show after a round: the measured events, in how many transactions, and streams with gaps.
SELECT count(*) FILTER (WHERE event_type = 'tenant.flag_set') AS flags_set,
       count(DISTINCT xmin::text) FILTER (WHERE event_type = 'tenant.flag_set') AS transactions,
       (SELECT count(*)
          FROM (SELECT FROM events
                 GROUP BY aggregate_type, aggregate_id
                HAVING min(sequence) <> 1 OR max(sequence) <> count(*)) AS broken) AS streams_with_gaps
  FROM events
