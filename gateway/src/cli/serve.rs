//! `tenantry serve`

use std::io::Write;

use anyhow::{anyhow, bail};
use tokio::signal::unix::{SignalKind, signal};

use crate::logs;
use crate::serve::Server;
use crate::settings::Settings;

pub async fn run(settings: Settings) -> anyhow::Result<()> {
    settings.check().map_err(|problem| anyhow!(problem))?;
    logs::start(settings.log_format, &settings.log);
    // Before anything starts, so that no signal is lost and none ends us in the middle.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let public_url = settings.store.public_url.clone();
    let data_dir = settings.store.data_dir.clone();
    let server = tokio::select! {
        launched = Server::launch(settings) => launched?,
        _ = terminate.recv() => bail!("stopped before it had started"),
        _ = interrupt.recv() => bail!("stopped before it had started"),
    };
    let serve = async {
        server.wait_until_ready().await;
        welcome(&server, public_url, data_dir);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = serve => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let _ = writeln!(std::io::stderr(), "Stopping; once more to stop at once.");
    tokio::select! {
        () = server.stop() => Ok(()),
        _ = terminate.recv() => bail!("stopped at once"),
        _ = interrupt.recv() => bail!("stopped at once"),
    }
}

/// Where to go, and the next command to try.
fn welcome(server: &Server, public_url: Option<String>, data_dir: Option<std::path::PathBuf>) {
    let url = public_url.filter(|url| !url.is_empty()).unwrap_or_else(|| format!("http://{}", server.public));
    let command =
        std::env::current_exe().map_or_else(|_| "tenantry".to_owned(), |path| path.display().to_string());
    let with = data_dir.map_or_else(String::new, |dir| format!(" --data-dir {}", dir.display()));
    // Nobody may be reading: then there is nobody to welcome, and the server serves all the same.
    let _ = writeln!(
        std::io::stdout(),
        "\nTenantry is ready.\n\
         \n  API        {url}\
         \n  Docs       {url}/docs\
         \n  Metrics    http://{}/metrics\
         \n  Mail       {}\
         \n  Data       {}\
         \n  PostgreSQL {}\n\
         \nNext, in another shell:\n\
         \n  TOKEN=$({command} token --role operator{with})\
         \n  curl -s -H \"Authorization: Bearer $TOKEN\" {url}/api/operator/tenants\n",
        server.admin,
        server.mail_place(),
        server.data_dir().display(),
        server.database,
    );
}
