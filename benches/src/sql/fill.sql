-- Events numbered $1 to $2 of tenants that never were: event n belongs to stream n mod $3, so that streams are
-- interleaved as they are in life. The first of each provisions its tenant; then flags are set, and now and then the
-- plan changes. {columns} and {values} are what the journal has beside the table of postgres-es.
INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata {columns})
SELECT 'tenant', e.id::text, e.sequence,
       CASE WHEN e.sequence = 1 THEN 'tenant.provisioned' WHEN e.sequence % 10 = 5 THEN 'tenant.plan_changed' ELSE 'tenant.flag_set' END,
       '1',
       CASE
           WHEN e.sequence = 1 THEN format(
               '{"Provisioned":{"tenant":"%1$s","name":{"$confidential":{"of":"%1$s","value":"bench-%2$s"}},"slug":{"$confidential":{"of":"%1$s","value":"bench-%2$s"}},"domain":{"$confidential":{"of":"%1$s","value":"bench-%2$s.example"}},"plan":"free","region":"eu","trial_ends_at":null,"owner":"%1$s","owner_email":{"$personal":{"of":"%1$s","value":"owner@bench-%2$s.example"}}}}',
               e.id, replace(e.id::text, '-', ''))
           WHEN e.sequence % 10 = 5 AND e.sequence % 20 = 5 THEN '{"PlanChanged":{"from":"free","to":"pro"}}'
           WHEN e.sequence % 10 = 5 THEN '{"PlanChanged":{"from":"pro","to":"free"}}'
           ELSE format(
               '{"FlagSet":{"key":"checkout.variant-%s","value":{"$confidential":{"of":"%s","value":{"type":"string","value":"filled %s"}}}}}',
               e.sequence % 8, e.id, e.sequence)
       END::json,
       '{"action":"flags:set","actor_kind":"operator"}'::json
       {values}
  FROM (SELECT n, (n - 1) / $3::bigint + 1 AS sequence, md5('bench ' || (n - 1) % $3::bigint)::uuid AS id
          FROM generate_series($1::bigint, $2::bigint) AS n) AS e
