-- Without its keys nothing that was wrapped, hashed or signed is worth anything: for development only.
DROP TABLE wrapped_keys;
