-- Gives a lease back, so that the next owner need not wait.
UPDATE journal_shard SET owner = NULL, lease_until = '-infinity' WHERE shard = $1::smallint AND epoch = $2::bigint
