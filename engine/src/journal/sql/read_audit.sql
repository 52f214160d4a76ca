-- The audit ledger between two positions, in commit order.
SELECT position, entry_id, occurred_at, recorded_at, tenant, actor, role, correlation_id, metadata::text, payload::text
  FROM audit_ledger
 WHERE shard = $1 AND position > $2 AND position <= $3
 ORDER BY position
