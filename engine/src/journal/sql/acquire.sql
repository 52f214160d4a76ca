-- Takes a lease that is free, lapsed or one's own; a higher epoch fences whoever held it before.
UPDATE journal_shard
   SET epoch = epoch + 1, owner = $2::uuid, lease_until = clock_timestamp() + $3::bigint * interval '1 millisecond'
 WHERE shard = $1::smallint AND (owner IS NULL OR owner = $2::uuid OR lease_until < clock_timestamp())
RETURNING epoch
