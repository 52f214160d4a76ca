//! Mail: what people are told by letter.
//!
//! It follows what happens to people and memberships, and asks for one job for each event that somebody is to be told
//! of, with an id derived from the event: asked again, it is the same letter. A job says whom and what about, by
//! reference; whoever sends it looks the address up then.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use engine::feed::Interest;
use engine::jobs::{DONE_KEPT_DAYS, JobId, Jobs, NewJob, Priority};
use engine::process::{ProcessManager, Retry};
use kernel::{Clock, Envelope, MembershipId, PersonId, PositionToken, TenantId};
use schemas::events::{MembershipEvent, UserEvent};
use schemas::values::PasswordChange;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const NAME: &str = "mail";

/// Events that may be something to tell.
const CONCERNS: &[&str] = &[
    "membership.invited",
    "membership.resent",
    "user.password_reset_requested",
    "user.login_challenged",
    "user.password_changed",
    "user.refresh_reuse_detected",
    "user.mfa_enrolled",
    "user.mfa_removed",
    "user.passkey_added",
    "user.passkey_removed",
];

/// What a mail job is about. These names are the storage format of jobs: add, never rename. References only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailJob {
    /// What the read models must hold before it is sent, as [`PositionToken`].
    pub position: String,
    #[serde(flatten)]
    pub notice: Notice,
}

/// What somebody is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "template", rename_all = "snake_case")]
pub enum Notice {
    Invitation {
        membership: MembershipId,
        expires_at: DateTime<Utc>,
    },
    PasswordReset {
        person: PersonId,
        expires_at: DateTime<Utc>,
    },
    PasswordChanged {
        person: PersonId,
        at: DateTime<Utc>,
    },
    RefreshReuseDetected {
        person: PersonId,
        at: DateTime<Utc>,
    },
    MfaEnrolled {
        person: PersonId,
        at: DateTime<Utc>,
    },
    MfaRemoved {
        person: PersonId,
        at: DateTime<Utc>,
    },
    PasskeyAdded {
        person: PersonId,
        at: DateTime<Utc>,
    },
    PasskeyRemoved {
        person: PersonId,
        at: DateTime<Utc>,
    },
    LoginChallenged {
        person: PersonId,
        challenge: Uuid,
        expires_at: DateTime<Utc>,
    },
    /// By the job that made it, not by an event.
    ExportReady {
        person: PersonId,
        expires_at: DateTime<Utc>,
    },
}

impl MailJob {
    /// The kind of these jobs.
    pub const KIND: &'static str = NAME;
}

impl Notice {
    /// Part of the job's id: never rename.
    pub const fn step(&self) -> &'static str {
        match self {
            Self::Invitation { .. } => "mail.invitation",
            Self::PasswordReset { .. } => "mail.password_reset",
            Self::PasswordChanged { .. } => "mail.password_changed",
            Self::RefreshReuseDetected { .. } => "mail.refresh_reuse_detected",
            Self::MfaEnrolled { .. } => "mail.mfa_enrolled",
            Self::MfaRemoved { .. } => "mail.mfa_removed",
            Self::PasskeyAdded { .. } => "mail.passkey_added",
            Self::PasskeyRemoved { .. } => "mail.passkey_removed",
            Self::LoginChallenged { .. } => "mail.login_challenged",
            Self::ExportReady { .. } => "mail.export_ready",
        }
    }

    /// Somebody waits for a link or a code; the others tell what has happened.
    const fn priority(&self) -> Priority {
        match self {
            Self::Invitation { .. } | Self::PasswordReset { .. } | Self::LoginChallenged { .. } => {
                Priority::High
            }
            _ => Priority::Normal,
        }
    }
}

/// The process manager of mail. It sends no command: it asks for jobs.
pub struct Mail {
    jobs: Jobs,
    clock: Arc<dyn Clock>,
}

impl Mail {
    pub fn new(jobs: Jobs, clock: Arc<dyn Clock>) -> Self {
        Self { jobs, clock }
    }
}

fn broken(error: impl std::fmt::Display) -> Retry {
    Retry::new(format!("can't be decoded: {error}"))
}

/// What an event tells somebody, if anything.
fn notice(event: &Envelope) -> Result<Option<Notice>, Retry> {
    let at = event.recorded_at;
    if &*event.stream.aggregate_type == "membership" {
        let membership = MembershipId(event.stream.id);
        return Ok(match event.decode().map_err(broken)? {
            // Without a hash no link was made: whoever accepts has proved otherwise to be the person.
            MembershipEvent::Invited { expires_at, token_hash: Some(_), .. }
            | MembershipEvent::Resent { expires_at, token_hash: Some(_) } => {
                Some(Notice::Invitation { membership, expires_at })
            }
            _ => None,
        });
    }
    let person = PersonId(event.stream.id);
    Ok(match event.decode().map_err(broken)? {
        UserEvent::PasswordResetRequested { expires_at, .. } => {
            Some(Notice::PasswordReset { person, expires_at })
        }
        // Whoever chose their first password by an invitation knows.
        UserEvent::PasswordChanged { because: PasswordChange::Accepted, .. } => None,
        UserEvent::PasswordChanged { .. } => Some(Notice::PasswordChanged { person, at }),
        UserEvent::RefreshReuseDetected { .. } => Some(Notice::RefreshReuseDetected { person, at }),
        UserEvent::MfaEnrolled { .. } => Some(Notice::MfaEnrolled { person, at }),
        UserEvent::MfaRemoved {} => Some(Notice::MfaRemoved { person, at }),
        UserEvent::PasskeyAdded { .. } => Some(Notice::PasskeyAdded { person, at }),
        UserEvent::PasskeyRemoved { .. } => Some(Notice::PasskeyRemoved { person, at }),
        UserEvent::LoginChallenged { challenge, expires_at, .. } => {
            Some(Notice::LoginChallenged { person, challenge, expires_at })
        }
        _ => None,
    })
}

#[async_trait]
impl ProcessManager for Mail {
    fn name(&self) -> &'static str {
        NAME
    }

    fn interest(&self) -> Interest {
        Interest::Only(&["membership", "user"])
    }

    fn concerns(&self, event: &Envelope) -> bool {
        CONCERNS.contains(&&*event.event_type)
    }

    async fn react(&self, event: &Envelope) -> Result<(), Retry> {
        // A job that was done longer ago than that is forgotten: it can't be told any more whether the letter was sent.
        if event.recorded_at < self.clock.now() - TimeDelta::days(DONE_KEPT_DAYS) {
            return Ok(());
        }
        let Some(notice) = notice(event)? else { return Ok(()) };
        let position = PositionToken { shard: event.shard, position: event.position }.to_string();
        let (id, priority) = (JobId::derived(event.event_id, notice.step()), notice.priority());
        let payload = serde_json::to_value(MailJob { position, notice })
            .map_err(|error| Retry::new(format!("a job can't be written: {error}")))?;
        let tenant: Option<TenantId> = event.metadata.tenant;
        let job = NewJob { tenant, priority, ..NewJob::new(id, MailJob::KIND, payload) };
        self.jobs.enqueue(job).await.map(|_| ()).map_err(|error| Retry::new(format!("a job: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::{
        Actor, ActorKind, CorrelationId, EventId, Metadata, Origin, Payload, Position, ShardId, StreamId,
    };
    use schemas::catalogue::{Entry, catalogue};

    fn envelope(entry: &Entry) -> Envelope {
        Envelope {
            shard: ShardId(0),
            position: Position(1),
            stream: StreamId::new(entry.aggregate, Uuid::from_u128(1)),
            sequence: 1,
            part: 0,
            index_in_command: 0,
            event_id: EventId(Uuid::from_u128(2)),
            event_type: entry.name.event_type.into(),
            event_version: entry.name.version.into(),
            payload: Payload::from_text(entry.name.fixture).unwrap(),
            metadata: Arc::new(Metadata {
                tenant: None,
                actor: Actor { kind: ActorKind::System, id: "test".to_owned() },
                role: "system".to_owned(),
                scopes: Vec::new(),
                action: "test".to_owned(),
                correlation_id: CorrelationId(Uuid::from_u128(3)),
                causation_id: None,
                command_id: None,
                origin: Origin::default(),
            }),
            recorded_at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
        }
    }

    /// The fixtures have every field.
    #[test]
    fn each_event_that_says_something_to_somebody_is_one_of_its_concerns() {
        let of_people = |entry: &Entry| matches!(entry.aggregate, "user" | "membership");
        let mut told: Vec<(&str, &str)> = Vec::new();
        for entry in catalogue().into_iter().filter(of_people) {
            if let Some(notice) = notice(&envelope(&entry)).unwrap() {
                told.push((entry.name.event_type, notice.step()));
            }
        }
        told.sort_unstable();
        let mut concerns = CONCERNS.to_vec();
        concerns.sort_unstable();
        assert_eq!(told.iter().map(|(event, _)| *event).collect::<Vec<_>>(), concerns);
        assert_eq!(told[0].1, "mail.invitation");
        assert_eq!(told[1].1, "mail.invitation");
        for (event, step) in &told[2..] {
            let said = step.strip_prefix("mail.").unwrap();
            assert!(event.contains(said), "{event}: {step}");
        }
    }

    /// These are stored: a job is read by later releases.
    #[test]
    fn a_job_is_written_as_it_always_was() {
        let expires_at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let notice = Notice::Invitation { membership: MembershipId(Uuid::from_u128(1)), expires_at };
        let job = MailJob { position: "0:42".to_owned(), notice };
        let written = serde_json::to_value(&job).unwrap();
        let expected = serde_json::json!({
            "position": "0:42", "template": "invitation",
            "membership": "00000000-0000-0000-0000-000000000001", "expires_at": "2027-01-15T08:00:00Z",
        });
        assert_eq!(written, expected);
        assert_eq!(serde_json::from_value::<MailJob>(expected).unwrap(), job);
    }
}
