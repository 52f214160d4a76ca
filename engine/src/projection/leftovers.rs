//! What other versions of the binary left: tables of read models that this one neither feeds nor reads.
//!
//! An older version may run beside this one, which is why a migration leaves its tables alone. Once none does, nobody folds
//! into them, so that what is forgotten stays readable in them: they are to be dropped (CON-COMP-001).

use std::collections::{BTreeMap, BTreeSet};

use deadpool_postgres::Pool;
use serde::Serialize;
use tokio_postgres::GenericClient;

use super::generation::lock_registry;
use super::model::{Projection, SCHEMA};

/// A table of a read model in a version that this binary does not know, with its generations and its view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Leftover {
    /// The table's logical name, such as `flags`.
    pub table: String,
    pub version: i32,
    /// Of all its generations, with their indexes.
    pub bytes: u64,
    /// This binary has the table in an older version: a newer one was here, and may be serving.
    pub is_newer: bool,
    relations: Vec<(Relation, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
enum Relation {
    // Views go before the tables that they show.
    View,
    Table,
}

/// Leftovers can't be dropped.
#[derive(Debug, thiserror::Error)]
pub enum LeftoverError {
    /// Nothing was dropped.
    #[error("{0} is of a newer version than this binary: drop it with one of that version, or later")]
    Newer(String),
    #[error("no connection to the database: {0}")]
    Pool(#[from] deadpool_postgres::PoolError),
    #[error(transparent)]
    Database(#[from] tokio_postgres::Error),
}

/// What there is in the schema of read models that belongs to none of these, by name and version.
pub async fn leftovers(owner: &Pool, known: &[&dyn Projection]) -> Result<Vec<Leftover>, LeftoverError> {
    find(&**owner.get().await?, known).await
}

/// Drops what was found, and what the registry says of it. All or nothing; a binary that still feeds it stops doing so.
pub async fn drop_leftovers(owner: &Pool, known: &[&dyn Projection]) -> Result<Vec<Leftover>, LeftoverError> {
    let mut client = owner.get().await?;
    let tx = client.transaction().await?;
    lock_registry(&tx).await?;
    let (names, versions): (Vec<&str>, Vec<i32>) =
        known.iter().map(|projection| (projection.name(), projection.version())).unzip();
    // Whoever feeds a generation holds its checkpoints; they go with the generation.
    let of_others = "NOT EXISTS (SELECT FROM unnest($1::text[], $2::integer[]) AS known (projection, version) \
                     WHERE known.projection = it.projection AND known.version = it.version)";
    let held = format!("SELECT FROM projection_checkpoint AS it WHERE {of_others} FOR UPDATE");
    tx.query(&held, &[&names, &versions]).await?;
    let found = find(&*tx, known).await?;
    if let Some(newer) = found.iter().find(|leftover| leftover.is_newer) {
        return Err(LeftoverError::Newer(format!("{}_v{}", newer.table, newer.version)));
    }
    tx.execute(&format!("DELETE FROM projection_generation AS it WHERE {of_others}"), &[&names, &versions])
        .await?;
    let mut relations: Vec<_> = found.iter().flat_map(|leftover| &leftover.relations).collect();
    relations.sort();
    for (kind, name) in relations {
        let kind = match kind {
            Relation::View => "VIEW",
            Relation::Table => "TABLE",
        };
        tx.batch_execute(&format!("DROP {kind} {SCHEMA}.{name}")).await?;
    }
    tx.commit().await?;
    Ok(found)
}

async fn find(
    client: &impl GenericClient,
    known: &[&dyn Projection],
) -> Result<Vec<Leftover>, LeftoverError> {
    let known: BTreeSet<(&str, i32)> = known
        .iter()
        .flat_map(|projection| projection.tables().iter().map(|table| (*table, projection.version())))
        .collect();
    let sql = "SELECT relname::text, relkind = 'v', pg_total_relation_size(oid) FROM pg_class \
               WHERE relnamespace = $1::text::regnamespace AND relkind IN ('r', 'v') ORDER BY relname";
    let mut found: BTreeMap<(String, i32), Leftover> = BTreeMap::new();
    for row in client.query(sql, &[&SCHEMA]).await? {
        let (name, is_view, bytes): (String, bool, i64) = (row.get(0), row.get(1), row.get(2));
        let Some((table, version)) = parse(&name, is_view) else { continue };
        if known.contains(&(table, version)) {
            continue;
        }
        let is_newer = known.iter().any(|(of, ours)| *of == table && version > *ours);
        let leftover = found.entry((table.to_owned(), version)).or_insert_with(|| Leftover {
            table: table.to_owned(),
            version,
            bytes: 0,
            is_newer,
            relations: Vec::new(),
        });
        leftover.bytes += bytes.unsigned_abs();
        let kind = if is_view { Relation::View } else { Relation::Table };
        leftover.relations.push((kind, name));
    }
    Ok(found.into_values().collect())
}

/// The logical name and version of `flags_v1`, a view, or `flags_v1_3`, a table. Others are none of ours.
fn parse(name: &str, is_view: bool) -> Option<(&str, i32)> {
    let of_version = if is_view {
        name
    } else {
        let (of_version, generation) = name.rsplit_once('_')?;
        generation.parse::<i32>().ok()?;
        of_version
    };
    let (table, version) = of_version.rsplit_once("_v")?;
    let plain = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    Some((table, version.parse().ok()?)).filter(|_| !table.is_empty() && plain(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relation_tells_its_table_and_version() {
        assert_eq!(parse("flags_v1", true), Some(("flags", 1)));
        assert_eq!(parse("things_v12_3", false), Some(("things", 12)));
        assert_eq!(parse("a_v2_v3_4", false), Some(("a_v2", 3)));
        for other in ["flags", "flags_v", "flags_vx_1", "_v1_1", "flags_v1_x", "Flags_v1_1", "fl;ags_v1_1"] {
            assert_eq!(parse(other, false), None, "{other}");
        }
    }
}
