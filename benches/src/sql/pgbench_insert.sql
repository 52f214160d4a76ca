-- What pgbench sends: one event as small as ours, each its own commit.
INSERT INTO events VALUES ('tenant', gen_random_uuid()::text, 1, 'tenant.flag_set', '1', '{"FlagSet":{"key":"checkout.variant-3","value":{"$confidential":{"of":"0192f0c1-6a00-7000-8000-000000000001","value":{"type":"string","value":"variant 1099511627776"}}}}}', '{"action":"flags-set","actor_kind":"operator"}');
