-- The streams of one type, by id: for types of which there are few.
SELECT aggregate_id
  FROM events
 WHERE aggregate_type = $1 AND aggregate_id > $2 AND sequence = 1 AND position <= $3
 ORDER BY aggregate_id
 LIMIT $4
