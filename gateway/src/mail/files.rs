//! Letters as files, where no server is given: for developers, and for a first look.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use engine::jobs::JobError;
use engine::witness::replace_file;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::Sending;

/// The newest are kept.
const FILES_MAX: usize = 1_000;
const ENDING: &str = "eml";

/// A directory of letters (mode 0700), one file (RFC 5322, mode 0600) each. They sort by time.
pub(super) struct FilePost {
    directory: PathBuf,
    /// One at a time counts and forgets.
    writing: Arc<Mutex<()>>,
}

impl FilePost {
    /// # Errors
    /// The directory can't be made.
    pub fn new(directory: &Path) -> anyhow::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .with_context(|| format!("the directory {} for mails can't be made", directory.display()))?;
        Ok(Self { directory: directory.to_owned(), writing: Arc::default() })
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Removes what tells of a person or a tenant. What can't be removed now is tried again, as long as it is asked for.
    pub async fn forget(&self, id: Uuid) {
        let directory = self.directory.clone();
        let writing = self.writing.clone().lock_owned().await;
        let removed = tokio::task::spawn_blocking(move || {
            let _one_at_a_time = writing;
            forget_about(&directory, id)
        });
        if let Ok(Err(error)) = removed.await {
            tracing::warn!(%error, "mails that tell of somebody who was forgotten can't be removed from their directory");
        }
    }

    /// A letter that was kept before is replaced by itself.
    pub async fn keep(&self, sending: Sending<'_>, letter: Vec<u8>) -> Result<(), JobError> {
        let about: String = sending.about.iter().flatten().map(|id| format!("-{}", id.simple())).collect();
        let at = sending.at.format("%Y%m%dT%H%M%S%.3f");
        let name = format!("{at}-{}{about}.{ENDING}", sending.job.0.simple());
        let directory = self.directory.clone();
        let writing = self.writing.clone().lock_owned().await;
        let written = tokio::task::spawn_blocking(move || {
            let _one_at_a_time = writing;
            replace_file(&directory.join(name), &letter)?;
            forget_oldest(&directory, FILES_MAX)
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                tracing::warn!(%error, "a mail can't be written to its file");
                Err(JobError::later("file_unwritable"))
            }
            Err(_) => Err(JobError::later("file_unwritable")),
        }
    }
}

/// Removes the letters whose name says that they tell of this person or tenant.
fn forget_about(directory: &Path, id: Uuid) -> std::io::Result<()> {
    let mark = format!("-{}", id.simple());
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let about = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.contains(&mark));
        if about {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn forget_oldest(directory: &Path, kept_max: usize) -> std::io::Result<()> {
    let mut letters = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == ENDING) {
            letters.push(path);
        }
    }
    letters.sort();
    let surplus = letters.len().saturating_sub(kept_max);
    letters[..surplus].iter().try_for_each(std::fs::remove_file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, TimeDelta};
    use engine::jobs::JobId;
    use std::os::unix::fs::PermissionsExt;
    use uuid::Uuid;

    #[tokio::test]
    async fn a_letter_is_a_file_that_only_its_user_may_read_and_is_there_once() {
        let dir = tempfile::tempdir().unwrap();
        let post = FilePost::new(&dir.path().join("mail")).unwrap();
        let to = "ann@acme.example".parse().unwrap();
        let at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let sending = Sending { job: JobId(Uuid::from_u128(7)), at, to: &to, about: [None; 2] };
        post.keep(sending, b"one".to_vec()).await.unwrap();
        post.keep(sending, b"one".to_vec()).await.unwrap();
        let files: Vec<_> =
            std::fs::read_dir(post.directory()).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(files.len(), 1);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&files[0]), mode(post.directory())), (0o600, 0o700));
        assert!(!files[0].to_string_lossy().contains("ann"), "{files:?}");
    }

    #[tokio::test]
    async fn only_the_newest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let post = FilePost::new(dir.path()).unwrap();
        let to = "ann@acme.example".parse().unwrap();
        let begun = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        for number in 0..5_u128 {
            // The ids fall while the time goes on.
            let job = JobId(Uuid::from_u128(9 - number));
            let at = begun + TimeDelta::seconds(i64::try_from(number).unwrap());
            post.keep(Sending { job, at, to: &to, about: [None; 2] }, number.to_string().into_bytes())
                .await
                .unwrap();
        }
        std::fs::write(dir.path().join("notes.txt"), "mine").unwrap();
        forget_oldest(dir.path(), 2).unwrap();
        let mut left: Vec<String> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["3", "4", "mine"]);
    }
}
