//! `docs/database-schema.md` is made from the database that the migrations make.

use std::fmt::Write;

use crate::db::{TestDb, connect};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/database-schema.md");

const INTRODUCTION: &str = "# The database schema

Generated from a freshly migrated database; `UPDATE_DOCS=1 cargo nextest run -p tests --test it database_schema` writes it
anew. What each table is for stands as a comment in `schemas/migrations`, and above each read model's `.sql`.

`tenantry_owner` owns everything and runs the migrations; `tenantry_server` is what a running server may be.
Read models are tables of generations: `read_model.<name>_v<version>` is the view of the one that serves.
";

const COLUMNS: &str = "
    SELECT n.nspname || '.' || c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
           coalesce(pg_get_expr(d.adbin, d.adrelid), '')
      FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
      LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
     WHERE n.nspname IN ('public', 'read_model') AND c.relkind IN ('r', 'p') AND NOT c.relispartition
       AND c.relname <> '_sqlx_migrations'
     ORDER BY 1, a.attnum";

const INDEXES: &str = "
    SELECT schemaname || '.' || tablename, regexp_replace(indexdef, '^CREATE (UNIQUE )?INDEX (.*) ON (ONLY )?\\S+ USING', '\\1\\2')
      FROM pg_indexes WHERE schemaname IN ('public', 'read_model') ORDER BY 1, 2";

const TRIGGERS: &str = "
    SELECT n.nspname || '.' || c.relname, t.tgname
      FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE NOT t.tgisinternal AND NOT c.relispartition ORDER BY 1, 2";

const GRANTS: &str = "
    SELECT table_schema || '.' || table_name, string_agg(privilege_type, ', ' ORDER BY privilege_type)
      FROM information_schema.role_table_grants WHERE grantee = 'tenantry_server' GROUP BY 1";

#[tokio::test]
async fn the_schemas_page_is_current() {
    let db = TestDb::new().await;
    let client = connect(&db.owner_info).await;
    let pairs = async |sql: &str| {
        let rows = client.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| (row.get::<_, String>(0), row.get::<_, String>(1))).collect::<Vec<_>>()
    };
    let (indexes, triggers, grants) = (pairs(INDEXES).await, pairs(TRIGGERS).await, pairs(GRANTS).await);
    let mut page = INTRODUCTION.to_owned();
    let mut current = String::new();
    let close = |page: &mut String, table: &str| {
        let of = |list: &[(String, String)]| -> Vec<String> {
            list.iter().filter(|(name, _)| name == table).map(|(_, text)| format!("`{text}`")).collect()
        };
        for (title, list) in
            [("Indexes", of(&indexes)), ("Triggers", of(&triggers)), ("The server may", of(&grants))]
        {
            if !list.is_empty() {
                writeln!(page, "\n{title}: {}.", list.join(", ")).unwrap();
            }
        }
    };
    for row in client.query(COLUMNS, &[]).await.unwrap() {
        let table: String = row.get(0);
        if table != current {
            close(&mut page, &current);
            writeln!(page, "\n## {table}\n\n| column | type | null | default |\n|---|---|---|---|").unwrap();
            current = table;
        }
        let null = if row.get::<_, bool>(3) { "no" } else { "yes" };
        let default: String = row.get(4);
        let default = if default.is_empty() { default } else { format!("`{default}`") };
        writeln!(page, "| {} | {} | {null} | {default} |", row.get::<_, &str>(1), row.get::<_, &str>(2))
            .unwrap();
    }
    close(&mut page, &current);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PATH, &page).unwrap();
    }
    let written = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(written == page, "docs/database-schema.md is not current: run this test with UPDATE_DOCS=1");
}
