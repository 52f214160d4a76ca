//! The local socket: how whoever may read the data directory gets tokens from the running server.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use engine::audit::{AuditFact, AuditOutcome};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use kernel::{Actor, ActorKind, Clock, CorrelationId, Ids, Metadata, Origin, PersonId, Position, TenantId};
use schemas::values::Role;
use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};

use crate::audit::Audit;
use crate::listener::LocalPeer;
use crate::problem::Problem;
use crate::state::AppState;
use crate::token::{Grant, SigningError, TTL_MAX, Tokens};

/// The directory below the data directory; its mode keeps others out from the first moment on.
const DIRECTORY: &str = "control";
const SOCKET: &str = "tenantry.sock";
/// `sun_path` holds 108 bytes with its terminating NUL (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long the server may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a tenant that was just made may take to be known.
const TENANT_WAIT: Duration = Duration::from_secs(2);

/// What a token is wished for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenWish {
    pub role: Role,
    #[serde(default)]
    pub tenant: Option<TenantId>,
    /// Whose token it is; nobody's in particular if none is given.
    #[serde(default)]
    pub person: Option<PersonId>,
    pub ttl_s: u64,
}

/// A token that was issued.
#[derive(Clone, Serialize, Deserialize)]
pub struct Issued {
    pub token: String,
    pub expires_at: DateTime<Utc>,
}

/// No token is issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error("the role {0} belongs to a machine, which has an API key")]
    Machine(Role),
    #[error("the role {0} is a tenant's: say which one with --tenant")]
    TenantMissing(Role),
    #[error("a token lives at least one second and at most 15 minutes")]
    Ttl,
    #[error("there is no tenant {0}")]
    NoTenant(TenantId),
    #[error(transparent)]
    Signing(#[from] SigningError),
    #[error("the token could not be audited, so it is not given out")]
    Unaudited,
}

/// What issuing needs.
pub struct Issuer<'a> {
    pub tokens: &'a Tokens,
    pub audit: &'a Audit,
    pub clock: &'a dyn Clock,
    pub ids: &'a dyn Ids,
    /// How far the journal is: nothing that ended sessions before ends these.
    pub head: Position,
}

impl TokenWish {
    /// # Errors
    /// What is wrong with it, whoever wishes it.
    pub fn check(&self) -> Result<(), IssueError> {
        if self.role.is_machine() {
            return Err(IssueError::Machine(self.role));
        }
        if self.role.is_tenant() && self.tenant.is_none() {
            return Err(IssueError::TenantMissing(self.role));
        }
        if self.ttl_s == 0 || self.ttl_s > TTL_MAX.as_secs() {
            return Err(IssueError::Ttl);
        }
        Ok(())
    }
}

impl Issuer<'_> {
    /// Signs a token for a user of this machine. It is in the audit trail before anybody has it.
    ///
    /// # Errors
    /// [`IssueError`]
    pub async fn issue(&self, wish: &TokenWish, uid: u32) -> Result<Issued, IssueError> {
        wish.check()?;
        let subject = wish.person.map_or_else(|| format!("local:{uid}"), |person| person.to_string());
        let now = self.clock.now();
        let grant = Grant {
            subject,
            session: self.ids.fresh(),
            token_id: self.ids.fresh(),
            tenant: wish.tenant,
            role: Some(wish.role),
            scopes: Vec::new(),
            began_at: self.head,
            authenticated_at: now,
            methods: Vec::new(),
            ttl: Duration::from_secs(wish.ttl_s),
        };
        let (token, claims) = self.tokens.sign(grant, now)?;
        let metadata = Metadata {
            tenant: wish.tenant,
            actor: Actor { kind: ActorKind::Operator, id: format!("local:{uid}") },
            role: wish.role.as_str().to_owned(),
            scopes: Vec::new(),
            action: "tokens:issue".to_owned(),
            correlation_id: CorrelationId(self.ids.fresh()),
            causation_id: None,
            command_id: None,
            origin: Origin::default(),
        };
        let fact = AuditFact {
            outcome: AuditOutcome::Success,
            status: 200,
            code: None,
            detail: None,
            resource_type: Some("token".to_owned()),
            resource_id: Some(claims.jti.to_string()),
            count: 1,
        };
        self.audit.record(metadata, fact).await.map_err(|_| IssueError::Unaudited)?;
        Ok(Issued { token, expires_at: DateTime::from_timestamp(claims.exp, 0).unwrap_or_default() })
    }
}

/// What the local socket answers to.
pub fn router(app: AppState) -> Router {
    Router::new().route("/token", post(token)).with_state(app)
}

async fn token(
    State(app): State<AppState>,
    Extension(LocalPeer { uid }): Extension<LocalPeer>,
    request: Request,
) -> Response {
    let body = Limited::new(request.into_body(), 4096).collect().await.map(|body| body.to_bytes());
    let wish = body.ok().and_then(|body| serde_json::from_slice::<TokenWish>(&body).ok());
    let Some(wish) = wish else {
        return refused("the wish can't be understood: are server and command of one version?");
    };
    if let Some(tenant) = wish.tenant
        && !known(&app, tenant).await
    {
        return refused(IssueError::NoTenant(tenant));
    }
    let issuer = Issuer {
        tokens: &app.keys.tokens,
        audit: &app.audit,
        clock: &*app.clock,
        ids: &*app.ids,
        head: app.access.position(),
    };
    match issuer.issue(&wish, uid).await {
        Ok(issued) => match serde_json::to_vec(&issued) {
            Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
            Err(error) => refused(error),
        },
        Err(error) => refused(error),
    }
}

fn refused(why: impl ToString) -> Response {
    let mut response = Problem::rule("not_issued").into_response();
    *response.body_mut() = why.to_string().into();
    response
}

/// True once the tenant is known here; a tenant that was just made may take a moment.
async fn known(app: &AppState, tenant: TenantId) -> bool {
    let Some(mut position) = app.access.handle.watch(kernel::ShardId::default()) else {
        return app.access.memory.tenant(tenant).is_some();
    };
    let waiting = async {
        loop {
            position.mark_unchanged();
            if app.access.memory.tenant(tenant).is_some() {
                return true;
            }
            if position.changed().await.is_err() {
                return false;
            }
        }
    };
    tokio::time::timeout(TENANT_WAIT, waiting).await.unwrap_or(false)
}

/// The socket's path, by a short way if the long one doesn't fit into an address.
struct Place {
    path: PathBuf,
    /// Keeps the short way open.
    _directory: Option<std::fs::File>,
}

fn place(data_dir: &Path) -> std::io::Result<Place> {
    let directory = data_dir.join(DIRECTORY);
    let path = directory.join(SOCKET);
    if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return Ok(Place { path, _directory: None });
    }
    use std::os::fd::AsRawFd;
    let open = std::fs::File::open(&directory)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", open.as_raw_fd()));
    Ok(Place { path, _directory: Some(open) })
}

/// Opens the socket. Only whoever holds the data directory's lock may: what a former server left is removed.
///
/// # Errors
/// The directory can't be written.
pub fn listen(data_dir: &Path) -> std::io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    let directory = data_dir.join(DIRECTORY);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700))?;
    let place = place(data_dir)?;
    match std::fs::remove_file(&place.path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&place.path)?;
    std::fs::set_permissions(directory.join(SOCKET), std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Removes the socket.
pub fn remove(data_dir: &Path) {
    let _ = std::fs::remove_file(data_dir.join(DIRECTORY).join(SOCKET));
}

/// Why the running server gave no token.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("no server runs with this data directory")]
    NoServer,
    #[error("the socket of the server can't be opened; only its user and root may")]
    Denied,
    #[error("the server does not answer")]
    Silent,
    #[error("{0}")]
    Refused(String),
}

/// Asks the running server for a token.
///
/// # Errors
/// [`AskError`]
pub async fn ask(data_dir: &Path, wish: &TokenWish) -> Result<Issued, AskError> {
    let no_server = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => AskError::Denied,
        _ => AskError::NoServer,
    };
    let place = place(data_dir).map_err(no_server)?;
    let stream = UnixStream::connect(&place.path).await.map_err(no_server)?;
    let talk = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|_| AskError::Silent)?;
        tokio::spawn(connection);
        let body = serde_json::to_vec(wish).map_err(|_| AskError::Silent)?;
        let request = axum::http::Request::post("/token")
            .header("host", "localhost")
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| AskError::Silent)?;
        let response = sender.send_request(request).await.map_err(|_| AskError::Silent)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|_| AskError::Silent)?.to_bytes();
        if status.is_success() {
            serde_json::from_slice(&body).map_err(|_| AskError::Silent)
        } else {
            Err(AskError::Refused(String::from_utf8_lossy(&body).into_owned()))
        }
    };
    tokio::time::timeout(ANSWER_TIMEOUT, talk).await.unwrap_or(Err(AskError::Silent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn wish(role: Role, tenant: Option<TenantId>, ttl_s: u64) -> TokenWish {
        TokenWish { role, tenant, person: None, ttl_s }
    }

    #[test]
    fn a_wish_that_makes_no_sense_is_refused() {
        let tenant = Some(TenantId(uuid::Uuid::from_u128(1)));
        assert!(wish(Role::Operator, None, 900).check().is_ok());
        assert!(wish(Role::Owner, tenant, 1).check().is_ok());
        assert!(matches!(wish(Role::Owner, None, 60).check(), Err(IssueError::TenantMissing(_))));
        assert!(matches!(wish(Role::Application, tenant, 60).check(), Err(IssueError::Machine(_))));
        assert!(matches!(wish(Role::Operator, None, 901).check(), Err(IssueError::Ttl)));
        assert!(matches!(wish(Role::Operator, None, 0).check(), Err(IssueError::Ttl)));
    }

    #[tokio::test]
    async fn the_socket_is_its_users_own_however_long_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(100));
        std::fs::create_dir(&deep).unwrap();
        for path in [dir.path(), &deep] {
            assert!(matches!(ask(path, &wish(Role::Operator, None, 60)).await, Err(AskError::NoServer)));
            let _listener = listen(path).unwrap();
            let socket = path.join(DIRECTORY).join(SOCKET);
            assert_eq!(std::fs::metadata(&socket).unwrap().mode() & 0o777, 0o600);
            assert_eq!(std::fs::metadata(path.join(DIRECTORY)).unwrap().mode() & 0o777, 0o700);
            UnixStream::connect(&place(path).unwrap().path).await.unwrap();
            remove(path);
            assert!(!socket.exists());
        }
    }
}
