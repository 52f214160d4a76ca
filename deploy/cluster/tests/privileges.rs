//! Who may do what in the private cluster, and what its log keeps to itself.

mod scratch;

use cluster::Cluster;
use scratch::{Scratch, ask, connect};
use sqlx::{Connection, PgConnection};
use tokio_postgres::error::SqlState;

/// CON-SEC-007
#[tokio::test]
async fn the_owner_makes_tables_and_the_server_only_uses_what_it_was_granted() {
    let scratch = Scratch::new();
    let cluster = scratch.ensure().await;
    let owner = connect(&cluster.owner()).await.unwrap();
    owner.batch_execute("CREATE SCHEMA s; CREATE TABLE history (id int); GRANT SELECT, INSERT ON history TO tenantry_server").await.unwrap();

    let server = connect(&cluster.server()).await.unwrap();
    server.batch_execute("INSERT INTO history VALUES (1)").await.unwrap();
    for refused in [
        "UPDATE history SET id = 2",
        "DELETE FROM history",
        "TRUNCATE history",
        "CREATE TABLE mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE DATABASE mine",
        "SET ROLE tenantry_owner",
        "ALTER SYSTEM SET fsync = off",
    ] {
        let error = server.batch_execute(refused).await.expect_err(refused);
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{refused}: {error}");
    }
    let powers = "SELECT string_agg(rolname, ', ') FROM pg_roles WHERE rolname LIKE 'tenantry%' AND \
                  (rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls)";
    let client = connect(&cluster.superuser()).await.unwrap();
    let powerful: Option<String> = client.query_one(powers, &[]).await.unwrap().get(0);
    assert_eq!(powerful, None);
}

#[tokio::test]
async fn a_copied_database_holds_what_its_template_held_and_goes_when_dropped() {
    let scratch = Scratch::new();
    let cluster = scratch.ensure().await;
    cluster.create_database("model", None).await.unwrap();
    let owner = connect(&cluster.owner().with_database("model")).await.unwrap();
    owner
        .batch_execute(
            "CREATE TABLE t (v text); INSERT INTO t VALUES ('x'); GRANT SELECT ON t TO tenantry_server",
        )
        .await
        .unwrap();
    drop(owner);

    cluster.create_database("copy", Some("model")).await.unwrap();
    let server = cluster.server().with_database("copy");
    assert_eq!(ask(&server, "SELECT v FROM t").await, "x");
    let mut sqlx = PgConnection::connect(&server.url()).await.unwrap();
    let v: String = sqlx::query_scalar("SELECT v FROM t").fetch_one(&mut sqlx).await.unwrap();
    assert_eq!(v, "x", "sqlx takes the same URL");

    cluster.drop_database("copy").await.unwrap();
    cluster.drop_database("copy").await.unwrap();
    assert!(connect(&server).await.is_err());
}

/// A start may be killed between any two of its steps.
#[tokio::test]
async fn roles_and_grants_that_are_missing_are_made_good() {
    let scratch = Scratch::new();
    let cluster = scratch.ensure().await;
    let superuser = connect(&cluster.superuser()).await.unwrap();
    superuser.batch_execute("REVOKE ALL ON DATABASE tenantry FROM tenantry_server").await.unwrap();
    assert!(connect(&cluster.server()).await.is_err());
    scratch.ensure().await;
    connect(&cluster.server()).await.unwrap();

    superuser.batch_execute("DROP DATABASE tenantry").await.unwrap();
    superuser.batch_execute("DROP ROLE tenantry_server").await.unwrap();
    scratch.ensure().await;
    connect(&cluster.server()).await.unwrap();

    let file = cluster.pgdata().with_file_name("secrets").join("tenantry_server.password");
    std::fs::remove_file(file).unwrap();
    let again = scratch.ensure().await;
    assert_ne!(again.server().password, cluster.server().password);
    connect(&again.server()).await.unwrap();
}

/// CC-LOG-002
#[tokio::test]
async fn the_log_holds_no_personal_data_and_no_password() {
    let scratch = Scratch::new();
    let cluster = scratch.ensure().await;
    let owner = connect(&cluster.owner()).await.unwrap();
    owner.batch_execute("CREATE TABLE person (email text CONSTRAINT one_person UNIQUE)").await.unwrap();
    for _ in 0..2 {
        let _ = owner.execute("INSERT INTO person VALUES ($1)", &[&"ada@example.com"]).await;
    }
    let _ = owner.batch_execute("INSERT INTO person VALUES ('ada@example.com')").await;
    let log = std::fs::read_to_string(cluster.log_file()).unwrap();
    assert!(log.contains("one_person"), "the error itself is logged: {log}");
    assert!(!log.contains("ada@example.com"), "{log}");
    for secret in [cluster.superuser(), cluster.owner(), cluster.server()] {
        assert!(!log.contains(&secret.password));
    }
}

#[tokio::test]
async fn a_missing_cluster_is_none_and_nothing_is_made() {
    let empty = tempfile::tempdir().unwrap();
    assert!(Cluster::open(empty.path()).unwrap().is_none());
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
}
