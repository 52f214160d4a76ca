-- Batches are sent one by one again.
DROP FUNCTION journal_advance(smallint, bigint, bigint, uuid, timestamptz, uuid);
