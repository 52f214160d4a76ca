-- Settles an unclear commit: waits for the old transaction's row lock, fences one that is still unread, and tells
-- which batch was the last. A batch of no events may not have moved last_batch_id.
UPDATE journal_shard
   SET epoch = epoch + 1
 WHERE shard = $1::smallint AND epoch = $2::bigint
RETURNING epoch, last_batch_id, last_position, last_recorded_at
