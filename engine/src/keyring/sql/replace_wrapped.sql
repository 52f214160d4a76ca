-- Wraps keys anew, unless they were forgotten or wrapped anew since they were read.
UPDATE subject_keys s
   SET wrapped = n.after, wrapped_under = $6
  FROM unnest($1::text[], $2::uuid[], $3::integer[], $4::bytea[], $5::bytea[])
       AS n (kind, subject, version, before, after)
 WHERE s.kind = n.kind AND s.subject = n.subject AND s.version = n.version AND s.wrapped = n.before
