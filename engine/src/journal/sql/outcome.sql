-- The stored answer to a command.
SELECT fingerprint, outcome::text, shard, position, recorded_at FROM command_outcomes WHERE command_id = $1
