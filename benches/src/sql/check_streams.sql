-- What any journal must show after a round: how many events, in how many transactions, and how many streams have gaps.
SELECT count(*) AS events,
       count(DISTINCT xmin::text) FILTER (WHERE event_type = 'tenant.flag_set') AS transactions,
       count(*) FILTER (WHERE event_type = 'tenant.flag_set') AS flags_set,
       (SELECT count(*)
          FROM (SELECT FROM events
                 GROUP BY aggregate_type, aggregate_id
                HAVING min(sequence) <> 1 OR max(sequence) <> count(*)) AS broken) AS streams_with_gaps
  FROM events
