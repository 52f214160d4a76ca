-- Which stream holds a name.
SELECT aggregate_type, aggregate_id FROM claims WHERE kind = $1 AND value_hash = $2
