//! Forgetting: once it is an event, the key goes.
//!
//! `user.subject_forgotten`, `tenant.purged` → the subject's key is replaced by its tombstone, first outside the database,
//! and what live actors hold of the subject is dropped. Read models follow the event itself.

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use engine::Engine;
use engine::feed::Interest;
use engine::keyring::Keyring;
use engine::process::{ProcessManager, Retry};
use kernel::{Envelope, PersonId, Subject, TenantId};

/// The process manager of forgetting. It sends no command: destroying a key is harmless twice.
pub struct Forgetting {
    engine: Engine,
    keyring: Arc<Keyring>,
    beyond: Forget,
}

/// Forgets a subject where neither keys nor the engine reach, such as in files. Harmless twice.
pub type Forget = Arc<dyn Fn(Subject) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

impl Forgetting {
    pub fn new(engine: Engine, keyring: Arc<Keyring>, beyond: Forget) -> Self {
        Self { engine, keyring, beyond }
    }
}

/// Whom an event forgets.
fn forgotten(event: &Envelope) -> Option<Subject> {
    match &*event.event_type {
        "user.subject_forgotten" => Some(Subject::Person(PersonId(event.stream.id))),
        "tenant.purged" => Some(Subject::Tenant(TenantId(event.stream.id))),
        _ => None,
    }
}

#[async_trait]
impl ProcessManager for Forgetting {
    fn name(&self) -> &'static str {
        "forgetting"
    }

    fn interest(&self) -> Interest {
        Interest::Only(&["user", "tenant"])
    }

    fn concerns(&self, event: &Envelope) -> bool {
        forgotten(event).is_some()
    }

    async fn react(&self, event: &Envelope) -> Result<(), Retry> {
        let Some(subject) = forgotten(event) else { return Ok(()) };
        let buried = self.keyring.forget(subject).await;
        buried
            .map_err(|error| Retry::new(format!("the key of the {subject} can't be destroyed: {error}")))?;
        self.engine.forget(subject);
        (self.beyond)(subject).await;
        tracing::info!(subject.kind = subject.kind(), subject.id = %subject.id(), "a subject was forgotten: its key is gone");
        Ok(())
    }
}
