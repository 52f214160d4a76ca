//! What a handler that changes something works with: body, caller, and the way to dispatch.

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use engine::command::{CommandContext, DispatchError, Idempotency, Receipt};
use kernel::{ActorKind, Decider, Metadata, Origin, TenantId};
use schemas::values::RiskReason;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::idempotency::Asked;
use super::json::{ReadBody, canonical, read_body, read_json};
use super::precondition::{etag, expected_sequence};
use super::{IdempotencyKey, NoBody, X_POSITION};
use crate::audit::Call;
use crate::caller::Caller;
use crate::gate::Admitted;
use crate::keys::random;
use crate::problem::Problem;
use crate::state::{AppState, FRESH_FOR};
use crate::view::audience::{Audience, EVERYONE};
use crate::view::fields::{Shown, body, fields};

/// How long a retry hears a secret again.
const SECRET_REPLAYED_FOR: TimeDelta = TimeDelta::minutes(10);

/// A request that changes something, with its body.
pub struct Write<B = NoBody> {
    pub body: B,
    pub app: AppState,
    pub caller: Caller,
    /// The tenant it concerns, as the URL map says. A handler that makes one says so by [`Write::in_tenant`].
    pub tenant: Option<TenantId>,
    admitted: Admitted,
    idempotency: Option<Idempotency>,
    expected_sequence: Option<u64>,
    audience: Audience,
    /// Kept as long as the body is.
    _room: Option<OwnedSemaphorePermit>,
}

impl<B: DeserializeOwned> FromRequest<AppState> for Write<B> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let admitted = parts.extensions.get::<Admitted>().cloned().ok_or_else(Problem::unexpected)?;
        let key = IdempotencyKey::of(&parts.headers)?;
        let expected_sequence = expected_sequence(&parts.headers)?;
        let ReadBody { bytes, room } = read_body(app, body).await?;
        let (body, read) = read_json(&parts.headers, &bytes)?;
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        // Strangers have no keys of their own: one could hear what another was told. Nor have they seen a sequence.
        let is_known = admitted.caller.actor.kind != ActorKind::Anonymous;
        let expected_sequence = expected_sequence.filter(|_| is_known);
        let idempotency = key.filter(|_| is_known).map(|key| {
            let asked = Asked { method: &parts.method, target, body: &canonical(&read) };
            let Idempotency { id, fingerprint } = key.idempotency(&admitted.caller, &asked);
            // Under a key: a body may hold a password, and what is stored of it must not serve to guess it.
            let fingerprint = *app.keys.derive_secret(&[b"fingerprint", &fingerprint]);
            Idempotency { id, fingerprint }
        });
        Ok(Self {
            body,
            app: app.clone(),
            caller: admitted.caller.clone(),
            tenant: admitted.tenant,
            audience: Audience::of(&admitted.endpoint, &admitted.caller),
            admitted,
            idempotency,
            expected_sequence,
            _room: room,
        })
    }
}

impl<B> Write<B> {
    pub fn now(&self) -> DateTime<Utc> {
        self.app.clock.now()
    }

    /// The tenant it concerns, where the URL map says that there is one.
    ///
    /// # Errors
    /// ERR-SYS-500: the URL map says otherwise.
    pub fn tenant(&self) -> Result<TenantId, Problem> {
        self.tenant.ok_or_else(Problem::unexpected)
    }

    /// It concerns this tenant after all, such as the one that it makes.
    pub fn in_tenant(&mut self, tenant: TenantId) {
        self.tenant = Some(tenant);
        self.admitted.report.tenant(tenant);
    }

    /// What it acts on, for the audit trail, where no path parameter says so.
    pub fn concerns(&self, kind: &'static str, id: impl ToString) {
        self.admitted.report.resource(kind, id);
    }

    /// Why it is unusual: for the audit trail, if it is asked for more (ERR-AUTH-461) and no event says so.
    pub fn is_unusual(&self, reasons: &[RiskReason]) {
        if !reasons.is_empty() {
            let words: Vec<&str> = reasons.iter().map(|reason| reason.as_str()).collect();
            self.admitted.report.reasons(words.join(","));
        }
    }

    /// It came to nothing that the audit trail should tell of by itself.
    pub fn concerns_nothing(&self) {
        self.admitted.report.no_resource();
    }

    /// The id of a new thing. With an `Idempotency-Key` it is derived from that, so that a retry reaches the same
    /// one. `what` tells apart the things that one request makes.
    pub fn new_id(&self, what: &str) -> Uuid {
        match &self.idempotency {
            Some(idempotency) => Uuid::new_v5(&idempotency.id.0, what.as_bytes()),
            None => self.app.ids.fresh(),
        }
    }

    /// 32 secret bytes for a new thing. With an `Idempotency-Key` a retry makes the same ones.
    ///
    /// # Errors
    /// ERR-SYS-500: the operating system gives no random bytes.
    pub fn new_secret(&self, of: Uuid) -> Result<Zeroizing<[u8; 32]>, Problem> {
        match &self.idempotency {
            Some(idempotency) => {
                let parts: [&[u8]; 3] =
                    [idempotency.id.0.as_bytes(), &idempotency.fingerprint, of.as_bytes()];
                Ok(self.app.keys.derive_secret(&parts))
            }
            None => random::<32>().map_err(|_| Problem::unexpected()),
        }
    }

    /// True while a secret may be shown: at first, and to retries within ten minutes.
    pub fn may_show_secret(&self, receipt: &Receipt) -> bool {
        let young = |at: DateTime<Utc>| self.now() - at <= SECRET_REPLAYED_FOR;
        // What changed nothing was made before, and shown then.
        receipt.changed() && (!receipt.replayed || receipt.recorded_at.is_some_and(young))
    }

    /// Where it comes from.
    pub fn origin(&self) -> &Origin {
        &self.admitted.info.origin
    }

    /// Who called, whatever they turned out to be.
    pub fn called_by(&self) -> &Caller {
        &self.admitted.caller
    }

    /// The call as the audit trail sees it.
    pub fn call(&self) -> Call {
        Call {
            action: self.admitted.endpoint.action,
            caller: self.caller.clone(),
            tenant: self.tenant,
            resource: None,
            info: self.admitted.info.clone(),
        }
    }

    /// What stands around the command's events.
    pub fn metadata(&self) -> Metadata {
        Metadata { command_id: self.idempotency.map(|idempotency| idempotency.id), ..self.call().metadata() }
    }

    /// Carries out the request's command; its outcome is durable when this returns.
    ///
    /// One request dispatches one command, so that one entry of the audit trail tells of it. What follows from it is
    /// a process manager's business.
    ///
    /// # Errors
    /// Whatever dispatch refuses, as the problem it is.
    pub async fn dispatch<D: Decider>(&self, id: Uuid, command: D::Command) -> Result<Receipt, Problem> {
        Ok(self.try_dispatch::<D>(id, command).await?)
    }

    /// The same, for whoever makes something of a refusal.
    ///
    /// # Errors
    /// Whatever dispatch refuses.
    pub async fn try_dispatch<D: Decider>(
        &self,
        id: Uuid,
        command: D::Command,
    ) -> Result<Receipt, DispatchError<D::Rejection>> {
        let context = CommandContext {
            metadata: self.metadata().into(),
            idempotency: self.idempotency,
            expected_sequence: self.expected_sequence,
            deadline: self.app.limits.command_deadline,
        };
        self.concerns(D::TYPE, id);
        let receipt = self.app.engine.dispatch::<D>(id, command, context).await?;
        self.admitted.report.receipt(&receipt);
        self.applied(&receipt).await;
        Ok(receipt)
    }

    /// Waits until this node's own checks know of a change, so that what was taken away is gone when the caller hears of
    /// it. Bounded by the freshness lease: after that the checks believe nothing they can't know.
    pub(crate) async fn applied(&self, receipt: &Receipt) {
        let Some(position) = receipt.position.filter(|_| !receipt.replayed) else { return };
        let access = self.app.access.handle.wait_for(position, FRESH_FOR);
        let flags = self.app.flags.handle.wait_for(position, FRESH_FOR);
        let policies = self.app.policies.handle.wait_for(position, FRESH_FOR);
        let (access, flags, policies) = futures::join!(access, flags, policies);
        if access.and(flags).and(policies).is_err() {
            tracing::warn!(%position, "a change is durable, and this node's memory does not know of it yet");
        }
    }

    /// The sequence that `If-Match` expects, if it was sent. [`Write::dispatch`] has it checked by the actor.
    pub fn expected_sequence(&self) -> Option<u64> {
        self.expected_sequence
    }

    /// For what was compared with `If-Match` already, where a process manager may be faster than the next command.
    pub fn compared(self) -> Self {
        Self { expected_sequence: None, ..self }
    }

    /// 200, with what the caller sees of it: of whoever called, whoever they turned out to be.
    pub fn show(&self, value: &impl Shown) -> Response {
        body(self.audience, value)
    }

    /// The usual answer: 200, with the id, the new `ETag` and `X-Position`.
    pub fn done(&self, id: Uuid, receipt: &Receipt) -> Response {
        self.answer(StatusCode::OK, receipt, &Done { id, sequence: receipt.sequence })
    }

    /// 201 with `Location`.
    pub fn created(&self, location: &str, receipt: &Receipt, body: &impl Shown) -> Response {
        let mut response = self.answer(StatusCode::CREATED, receipt, body);
        if let Ok(location) = HeaderValue::try_from(location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }

    /// An answer of one's own, with `ETag` and `X-Position`.
    pub fn answer(&self, status: StatusCode, receipt: &Receipt, body: &impl Shown) -> Response {
        let mut response = self.show(body);
        if response.status().is_success() {
            *response.status_mut() = status;
        }
        let headers = response.headers_mut();
        headers.insert(header::ETAG, etag(receipt.sequence));
        if let Some(position) = receipt.position.and_then(|at| HeaderValue::try_from(at.to_string()).ok()) {
            headers.insert(HeaderName::from_static(X_POSITION), position);
        }
        if receipt.replayed {
            headers.insert(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"));
        }
        response
    }
}

/// What was changed, and the sequence it has now.
#[derive(Clone, Debug, ToSchema)]
#[schema(example = json!({"id": "018f3a5e-7c2b-7e14-9d5a-3f6b1c2d4e5f", "sequence": 7}))]
pub struct Done {
    pub id: Uuid,
    /// What `ETag` says too: the number of its last change.
    pub sequence: u64,
}

fields! { Done {
    id: EVERYONE,
    sequence: EVERYONE,
} }
