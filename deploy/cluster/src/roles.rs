//! Roles, databases and the privileges between them.

use std::time::Duration;

use tokio_postgres::{Client, NoTls, error::SqlState};

use crate::{
    ConnectInfo, Error,
    error::sql,
    options::check_database_name,
    secrets::{OWNER, SERVER},
};

/// PostgreSQL answers 57P03 for a moment after it said it was ready, and 53300 when others hold every connection.
const CONNECT_ATTEMPTS: u32 = 100;
/// A template is refused (55006) while a session, perhaps one that is just ending, still uses it.
const TEMPLATE_ATTEMPTS: u32 = 100;
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Connects and drives the connection in a task of its own, which ends with the client.
pub(crate) async fn connect(to: &ConnectInfo) -> Result<Client, Error> {
    let mut config: tokio_postgres::Config =
        to.key_values().parse().map_err(sql("the connection settings are malformed"))?;
    config.application_name("tenantry cluster").connect_timeout(Duration::from_secs(10));
    let mut attempts = 0;
    loop {
        attempts += 1;
        match config.connect(NoTls).await {
            Ok((client, connection)) => {
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "connection of the cluster's housekeeping ended");
                    }
                });
                return Ok(client);
            }
            Err(error) if attempts < CONNECT_ATTEMPTS && is_passing(&error) => {
                tokio::time::sleep(RETRY_AFTER).await;
            }
            Err(error) => {
                let what = format!("cannot connect to {} as {}", to.socket().display(), to.user);
                return Err(sql(what)(error));
            }
        }
    }
}

fn is_passing(error: &tokio_postgres::Error) -> bool {
    matches!(error.code(), Some(&SqlState::CANNOT_CONNECT_NOW | &SqlState::TOO_MANY_CONNECTIONS))
}

/// Makes the two login roles with their passwords, and the main database, unless all of it is there. What is half
/// there, because its maker was killed, is completed.
pub(crate) async fn establish(
    superuser: &ConnectInfo,
    owner: &ConnectInfo,
    server: &ConnectInfo,
) -> Result<(), Error> {
    if is_established(owner, server).await {
        return Ok(());
    }
    let client = connect(superuser).await?;
    for role in [owner, server] {
        establish_role(&client, role).await?;
    }
    if database_exists(&client, &owner.database).await? {
        return grant(superuser, &client, &owner.database).await;
    }
    create_database(superuser, &client, &owner.database, None).await
}

/// Both roles get in, and the grant that is made last is there.
async fn is_established(owner: &ConnectInfo, server: &ConnectInfo) -> bool {
    let check = async {
        connect(owner).await?;
        let client = connect(server).await?;
        let granted = "SELECT EXISTS (SELECT FROM pg_database, aclexplode(datacl) AS granted \
                       WHERE datname = current_database() AND granted.grantee = current_user::regrole)";
        client.query_one(granted, &[]).await.map_err(sql("cannot read the privileges"))
    };
    check.await.is_ok_and(|row| row.get(0))
}

/// The role is a plain one: no superuser, makes neither roles nor databases, sees no replication.
async fn establish_role(client: &Client, role: &ConnectInfo) -> Result<(), Error> {
    let name = quote_identifier(&role.user);
    let found = client
        .query_opt("SELECT FROM pg_roles WHERE rolname = $1", &[&role.user])
        .await
        .map_err(sql("cannot read the roles"))?;
    let verb = if found.is_some() { "ALTER" } else { "CREATE" };
    let password = quote_literal(&role.password);
    // Statements are never logged (see options.rs), so the password stays out of the log.
    let statement = format!(
        "{verb} ROLE {name} WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS \
         PASSWORD {password}"
    );
    client.batch_execute(&statement).await.map_err(sql(format!("cannot establish the role {}", role.user)))
}

async fn database_exists(client: &Client, name: &str) -> Result<bool, Error> {
    let found = client.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&name]).await;
    found.map(|row| row.is_some()).map_err(sql("cannot read the databases"))
}

/// Creates a database that `tenantry_owner` owns and `tenantry_server` may enter, and nobody else.
pub(crate) async fn create_database(
    superuser: &ConnectInfo,
    client: &Client,
    name: &str,
    template: Option<&str>,
) -> Result<(), Error> {
    check_database_name(name)?;
    let mut statement = format!("CREATE DATABASE {} OWNER {OWNER}", quote_identifier(name));
    if let Some(template) = template {
        check_database_name(template)?;
        statement.push_str(&format!(" TEMPLATE {}", quote_identifier(template)));
    }
    let mut attempts = 0;
    loop {
        attempts += 1;
        match client.batch_execute(&statement).await {
            Ok(()) => break,
            Err(error) if attempts < TEMPLATE_ATTEMPTS && error.code() == Some(&SqlState::OBJECT_IN_USE) => {
                tokio::time::sleep(RETRY_AFTER).await;
            }
            Err(error) => return Err(sql(format!("cannot create the database {name}"))(error)),
        }
    }
    grant(superuser, client, name).await
}

async fn grant(superuser: &ConnectInfo, client: &Client, name: &str) -> Result<(), Error> {
    let what = || sql(format!("cannot set the privileges of the database {name}"));
    // PostgreSQL 14 lets everybody create in the schema public.
    connect(&superuser.with_database(name))
        .await?
        .batch_execute(&format!(
            "ALTER SCHEMA public OWNER TO {OWNER}; \
             REVOKE ALL ON SCHEMA public FROM PUBLIC; \
             GRANT USAGE ON SCHEMA public TO {SERVER}"
        ))
        .await
        .map_err(what())?;
    // Last, as it tells a later start that everything before it is done.
    let database = quote_identifier(name);
    client
        .batch_execute(&format!(
            "REVOKE ALL ON DATABASE {database} FROM PUBLIC; GRANT CONNECT ON DATABASE {database} TO {SERVER}"
        ))
        .await
        .map_err(what())
}

/// Drops a database and ends whatever sessions it has. One that is not there is no error.
pub(crate) async fn drop_database(client: &Client, name: &str) -> Result<(), Error> {
    check_database_name(name)?;
    client
        .batch_execute(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote_identifier(name)))
        .await
        .map_err(sql(format!("cannot drop the database {name}")))
}

fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// For text without backslashes, which none of ours has: passwords are hexadecimal.
fn quote_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
