//! Looks after the private PostgreSQL while the server runs: one that ended without having been stopped is started again.

use std::time::Duration;

use cluster::{Cluster, Options};
use tokio_util::sync::CancellationToken;

/// How often it is looked for, and the first pause after a start that failed; it doubles up to the longest.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Returns when it is to stop. What `cluster stop` stopped stays down.
pub async fn look_after(cluster: Cluster, stop: CancellationToken) {
    let mut pause = PAUSE_MIN;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        if cluster.is_running() || cluster.was_stopped_in_order() {
            pause = PAUSE_MIN;
            continue;
        }
        tracing::error!("the private PostgreSQL has ended; starting it again");
        let started = tokio::select! {
            () = stop.cancelled() => return,
            started = Cluster::ensure(cluster.data_dir(), Options::default()) => started,
        };
        match started {
            Ok(_) => {
                tracing::info!("the private PostgreSQL runs again");
                pause = PAUSE_MIN;
            }
            Err(error) => {
                pause = (pause * 2).min(PAUSE_MAX);
                tracing::error!(
                    %error,
                    pause_ms = pause.as_millis() as u64,
                    "the private PostgreSQL can't be started; is its disk full? Trying again"
                );
            }
        }
    }
}
