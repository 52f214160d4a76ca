//! Mail: letters to people, by SMTP or, where no server for it is given, as files.
//!
//! A letter is sent from a job, so that it is sent again until a server has taken it. Who gets it, and the code in its
//! link, are looked up and derived when it is sent, and stand nowhere else: not in the job, not in a log.

mod files;
mod handler;
mod letter;
mod message;
mod settings;
mod smtp;

use std::path::Path;

use chrono::{DateTime, Utc};
use engine::jobs::{JobError, JobId};
use kernel::Subject;
use lettre::message::Mailbox;
use schemas::values::EmailAddress;
use uuid::Uuid;

use files::FilePost;
pub use handler::MailHandler;
pub use letter::{Letter, Link};
pub use settings::MailSettings;
use smtp::SmtpPost;

/// Where files go that would be mails, below the data directory.
pub const DIRECTORY: &str = "mail";

/// Sends letters.
pub struct Mailer {
    from: Mailbox,
    /// How recipients reach the server; stands at the foot of each letter.
    site: String,
    post: Post,
}

enum Post {
    Smtp(SmtpPost),
    Files(FilePost),
}

/// A letter that may have been sent before: then it is the same one, with the same id.
#[derive(Clone, Copy, Debug)]
pub struct Sending<'a> {
    /// Makes the Message-ID.
    pub job: JobId,
    /// When it was asked for: its Date.
    pub at: DateTime<Utc>,
    pub to: &'a EmailAddress,
    /// Who, and which tenant, it tells of: a file of it goes when they are forgotten.
    pub about: [Option<Uuid>; 2],
}

impl Mailer {
    /// `settings` have been checked. Files, where there is no server, go below the data directory.
    ///
    /// # Errors
    /// A setting is wrong, TLS can't be set up, or the directory can't be made.
    pub fn new(settings: &MailSettings, site: String, data_dir: &Path) -> anyhow::Result<Self> {
        let from = settings.from().map_err(anyhow::Error::msg)?;
        let post = match settings.smtp().map_err(anyhow::Error::msg)? {
            Some(url) => Post::Smtp(SmtpPost::new(&url)?),
            None => Post::Files(FilePost::new(&data_dir.join(DIRECTORY))?),
        };
        Ok(Self { from, site, post })
    }

    /// Hands a letter over; when this returns, a server has taken it, or it lies in its file.
    ///
    /// # Errors
    /// [`JobError::Later`] if it may be taken another time, [`JobError::Never`] if the server says that it won't.
    pub async fn send(&self, sending: Sending<'_>, letter: &Letter) -> Result<(), JobError> {
        let message = message::compose(&self.from, &self.site, sending, letter)
            .map_err(|_| JobError::never("letter_unwritable"))?;
        match &self.post {
            Post::Smtp(post) => post.send(&message).await,
            Post::Files(post) => post.keep(sending, message.formatted()).await,
        }
    }

    /// Removes files that tell of a person or a tenant who was forgotten. A server's mail is not ours any more.
    pub async fn forget(&self, subject: Subject) {
        if let Post::Files(post) = &self.post {
            post.forget(subject.id()).await;
        }
    }

    /// Closes what is open.
    pub async fn close(&self) {
        if let Post::Smtp(post) = &self.post {
            post.close().await;
        }
    }

    /// Where letters go, for people: a server, without user and password, or a directory.
    pub fn place(&self) -> String {
        match &self.post {
            Post::Smtp(post) => post.place().to_owned(),
            Post::Files(post) => format!("files in {}", post.directory().display()),
        }
    }
}
