-- Deletes answers that no retry is expected for any more, a bounded number at a time.
DELETE FROM command_outcomes
 WHERE command_id IN (SELECT command_id FROM command_outcomes WHERE recorded_at < $1 ORDER BY recorded_at LIMIT $2)
