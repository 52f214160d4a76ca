-- Takes everything back, history included: for development and for the up-down-up test only.
DROP TABLE audit_ledger, ledger_shard, aggregate_snapshots, command_outcomes, claims, events, shard_slice,
    journal_shard, journal_identity;
DROP FUNCTION journal_advance(smallint, bigint, bigint, uuid, timestamptz);
DROP FUNCTION ledger_advance(text, smallint, bigint, timestamptz);
DROP FUNCTION ensure_audit_partition(date);
DROP FUNCTION refuse_rewriting_history();
