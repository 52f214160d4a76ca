-- The rows of new subjects' keys, in the transaction of what was sealed under them. Never ON CONFLICT: who lost the race
-- for a subject seals anew under the key that stands.
INSERT INTO subject_keys (kind, subject, version, wrapped, wrapped_under, created_at)
SELECT k.kind, k.subject, k.version, k.wrapped, k.wrapped_under, $6::timestamptz
  FROM unnest($1::text[], $2::uuid[], $3::integer[], $4::bytea[], $5::text[])
       AS k (kind, subject, version, wrapped, wrapped_under)
