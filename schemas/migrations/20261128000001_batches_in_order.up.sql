-- A batch that is sent before the one before it was answered names that one: it is appended right behind it, or not at
-- all. The function without the name stays for the binary of before.
CREATE FUNCTION journal_advance(in_shard smallint, in_epoch bigint, in_count bigint, in_batch_id uuid, in_now timestamptz, in_after uuid)
    RETURNS TABLE (base bigint, recorded timestamptz)
    LANGUAGE plpgsql AS
$$
BEGIN
    UPDATE journal_shard
       SET last_position    = last_position + in_count,
           last_batch_id    = in_batch_id,
           last_recorded_at = GREATEST(last_recorded_at, in_now)
     WHERE shard = in_shard AND epoch = in_epoch AND (in_after IS NULL OR last_batch_id = in_after)
    RETURNING last_position - in_count, last_recorded_at INTO base, recorded;
    IF NOT FOUND THEN
        IF EXISTS (SELECT FROM journal_shard WHERE shard = in_shard AND epoch = in_epoch) THEN
            RAISE EXCEPTION 'batch % is not the last one of shard %', in_after, in_shard USING ERRCODE = 'TN003';
        END IF;
        RAISE EXCEPTION 'shard % is no longer owned at epoch %', in_shard, in_epoch USING ERRCODE = 'TN001';
    END IF;
    RETURN NEXT;
END
$$;
