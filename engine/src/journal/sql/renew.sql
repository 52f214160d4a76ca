-- Prolongs a lease that is still held.
UPDATE journal_shard
   SET lease_until = clock_timestamp() + $3::bigint * interval '1 millisecond'
 WHERE shard = $1::smallint AND epoch = $2::bigint
RETURNING epoch
