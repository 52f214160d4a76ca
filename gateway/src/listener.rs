//! Listeners: connections in bounded number, heads in bounded time and size, and an orderly end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::patience::Patient;
use crate::request::Peer;
use crate::telemetry;

/// The pause after the system refuses a connection, most often because file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Of an answer over HTTP/2, what waits in memory for its client.
const SEND_BYTES_MAX: usize = 64 * 1024;

/// Bounds of a listener.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    pub connections_max: usize,
    pub header_bytes_max: usize,
    /// How long a head may take (slowloris), and a connection without a request is kept.
    pub header_timeout: Duration,
    /// How long a client may take nothing of its answer.
    pub answer_timeout: Duration,
    /// How long requests may take to end when it stops.
    pub stop_timeout: Duration,
}

/// Who is at the other end of a local socket.
#[derive(Clone, Copy, Debug)]
pub struct LocalPeer {
    pub uid: u32,
}

/// Serves a TCP listener until it is told to stop; returns when all connections have ended.
pub async fn serve_tcp(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    stop: CancellationToken,
) {
    let server = Connections::new(limits);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = server.next(listener.accept()) => accepted,
        };
        let Some(((stream, address), permit)) = accepted else { continue };
        // Answers are small and are waited for.
        let _ = stream.set_nodelay(true);
        server.take(stream, router.clone(), move |request| with_address(request, address), permit);
    }
    server.end().await;
}

/// Serves a local socket, for this user and root only.
pub async fn serve_unix(
    listener: UnixListener,
    router: Router,
    limits: ConnectionLimits,
    stop: CancellationToken,
) {
    let own = rustix::process::geteuid().as_raw();
    let server = Connections::new(limits);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = server.next(listener.accept()) => accepted,
        };
        let Some(((stream, _), permit)) = accepted else { continue };
        let Ok(uid) = stream.peer_cred().map(|peer| peer.uid()) else { continue };
        if uid != own && uid != 0 {
            tracing::warn!(peer.uid = uid, "refused a connection to the local socket: it is another user's");
            continue;
        }
        let mark = move |request: &mut Request<Body>| {
            request.extensions_mut().insert(LocalPeer { uid });
        };
        server.take(stream, router.clone(), mark, permit);
    }
    server.end().await;
}

fn with_address(request: &mut Request<Body>, address: SocketAddr) {
    request.extensions_mut().insert(ConnectInfo(Peer(address)));
}

struct Connections {
    builder: Arc<Builder<TokioExecutor>>,
    permits: Arc<Semaphore>,
    graceful: GracefulShutdown,
    limits: ConnectionLimits,
}

impl Connections {
    fn new(limits: ConnectionLimits) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(limits.header_bytes_max);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
            .max_concurrent_streams(256)
            .max_send_buf_size(SEND_BYTES_MAX)
            .keep_alive_interval(limits.header_timeout)
            .keep_alive_timeout(limits.header_timeout);
        Self {
            builder: Arc::new(builder),
            permits: Arc::new(Semaphore::new(limits.connections_max.min(Semaphore::MAX_PERMITS))),
            graceful: GracefulShutdown::new(),
            limits,
        }
    }

    /// The next connection, once there is room for it. `None`: try again.
    async fn next<T>(
        &self,
        accept: impl Future<Output = std::io::Result<T>>,
    ) -> Option<(T, tokio::sync::OwnedSemaphorePermit)> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        match accept.await {
            Ok(accepted) => Some((accepted, permit)),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }

    fn take(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        router: Router,
        mark: impl Fn(&mut Request<Body>) + Clone + Send + 'static,
        permit: tokio::sync::OwnedSemaphorePermit,
    ) {
        let builder = Arc::clone(&self.builder);
        let watcher = self.graceful.watcher();
        let stream = Patient::new(stream, self.limits.header_timeout, self.limits.answer_timeout);
        let requests = stream.requests();
        tokio::spawn(async move {
            metrics::gauge!(telemetry::CONNECTIONS).increment(1.0);
            let service = service_fn(move |request: Request<Incoming>| {
                let (router, mark, under_way) = (router.clone(), mark.clone(), requests.begin());
                async move {
                    let mut request = request.map(Body::new);
                    mark(&mut request);
                    let answer = router.oneshot(request).await.unwrap_or_else(|never| match never {});
                    Ok::<_, Infallible>(answer.map(|body| under_way.until_end_of(body)))
                }
            });
            let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(%error, "a connection ended early");
            }
            metrics::gauge!(telemetry::CONNECTIONS).decrement(1.0);
            drop(permit);
        });
    }

    async fn end(self) {
        let open = self.graceful.count();
        if tokio::time::timeout(self.limits.stop_timeout, self.graceful.shutdown()).await.is_err() {
            tracing::warn!(connections = open, "connections were still busy when their time to end was over");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::sync::LazyLock;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    static GO_ON: LazyLock<Notify> = LazyLock::new(Notify::new);
    static ARRIVED: LazyLock<Notify> = LazyLock::new(Notify::new);
    /// More than the system keeps for a client that doesn't read.
    const LARGE: usize = 64 * 1024 * 1024;

    async fn serving(header_timeout: Duration) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
        let limits = ConnectionLimits {
            connections_max: 10,
            header_bytes_max: 8192,
            header_timeout,
            answer_timeout: header_timeout,
            stop_timeout: Duration::from_secs(10),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let slow = || async {
            ARRIVED.notify_one();
            GO_ON.notified().await;
            "slow"
        };
        let large = async || "x".repeat(LARGE);
        let router = Router::new()
            .route("/", get(async || "ok"))
            .route("/slow", get(slow))
            .route("/large", get(large));
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve_tcp(listener, router, limits, stop.clone()));
        (address, stop, serving)
    }

    async fn talk(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    /// Slowloris: whoever never ends his head is let go, and so is who has nothing to say.
    #[tokio::test]
    async fn a_head_that_never_ends_ends_the_connection() {
        let (address, _stop, _serving) = serving(Duration::from_millis(50)).await;
        assert_eq!(talk(address, "GET / HTTP/1.1\r\nhost: x\r\n").await, "");
        assert!(talk(address, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.ends_with("ok"));
    }

    /// Nothing at all, the beginning of what might become HTTP/2, and HTTP/2 that asks nothing.
    #[tokio::test]
    async fn a_connection_that_asks_nothing_is_ended() {
        let (address, _stop, _serving) = serving(Duration::from_millis(50)).await;
        let settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        for said in [&b""[..], b"PRI * HT", settings] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(said).await.unwrap();
            let mut answer = Vec::new();
            // It ends, in order or not.
            let _ = stream.read_to_end(&mut answer).await;
        }
    }

    #[tokio::test]
    async fn a_client_that_never_reads_its_answer_holds_no_room() {
        let (address, _stop, _serving) = serving(Duration::from_millis(200)).await;
        let request = b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n";
        let mut deaf = Vec::new();
        // All the room there is.
        for _ in 0..10 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request).await.unwrap();
            deaf.push(stream);
        }
        assert!(
            talk(address, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.ends_with("ok")
        );
        let mut answer = Vec::new();
        let _ = deaf.remove(0).read_to_end(&mut answer).await;
        assert!(answer.len() < LARGE, "it was cut off");
    }

    #[tokio::test]
    async fn a_head_that_is_too_large_is_refused() {
        let (address, _stop, _serving) = serving(Duration::from_secs(10)).await;
        let large = format!("GET / HTTP/1.1\r\nhost: x\r\nx-large: {}\r\n\r\n", "a".repeat(20_000));
        let answer = talk(address, &large).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }

    #[tokio::test]
    async fn a_request_under_way_ends_before_the_listener_does() {
        let (address, stop, serving) = serving(Duration::from_secs(10)).await;
        let request =
            tokio::spawn(async move { talk(address, "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await });
        ARRIVED.notified().await;
        stop.cancel();
        GO_ON.notify_one();
        serving.await.unwrap();
        assert!(request.await.unwrap().ends_with("slow"));
        assert!(TcpStream::connect(address).await.is_err());
    }
}
