-- All versions of some subjects' keys, tombstones too.
SELECT k.kind, k.subject, k.version, k.wrapped, k.wrapped_under
  FROM unnest($1::text[], $2::uuid[]) AS wanted (kind, subject)
  JOIN subject_keys k ON k.kind = wanted.kind AND k.subject = wanted.subject
 ORDER BY k.kind, k.subject, k.version
