//! Process managers: events in, commands out.
//!
//! Each follows the journal and wishes things of aggregates, with ids derived from the event, so that being asked again
//! after a crash changes nothing. They write no table and answer no query; what is no command is a job they ask for.

mod forgetting;
mod links;
mod mail;
mod ownership;
mod provisioning;
mod registration;
mod sender;

use std::sync::Arc;

use engine::Engine;
use engine::jobs::Jobs;
use engine::keyring::Keyring;
use engine::process::ProcessManager;
use kernel::Clock;

pub use forgetting::{Forget, Forgetting};
pub use links::{LinkToken, Links, LoginCode, Opened};
pub use mail::{Mail, MailJob, Notice};
pub use ownership::{Consequence, Ownership};
pub use provisioning::Provisioning;
pub use registration::{Lapse, Registration};

/// All process managers, one line each.
pub fn all(
    engine: &Engine,
    clock: &Arc<dyn Clock>,
    keyring: &Arc<Keyring>,
    links: &Links,
    jobs: &Jobs,
    forget: &Forget,
) -> Vec<Arc<dyn ProcessManager>> {
    vec![
        Arc::new(Provisioning::new(engine.clone(), clock.clone(), links.clone())),
        Arc::new(Ownership::new(engine.clone())),
        Arc::new(Forgetting::new(engine.clone(), keyring.clone(), forget.clone())),
        Arc::new(Mail::new(jobs.clone(), clock.clone())),
        Arc::new(Registration::new(engine.clone(), jobs.clone())),
    ]
}
