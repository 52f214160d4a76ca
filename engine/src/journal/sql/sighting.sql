-- Which journal this is, and where each shard ends: written down outside the database, so that an older copy is recognised.
SELECT i.journal_id, s.shard, s.last_position, e.event_id
  FROM journal_identity i
 CROSS JOIN journal_shard s
  LEFT JOIN events e ON e.shard = s.shard AND e.position = s.last_position
