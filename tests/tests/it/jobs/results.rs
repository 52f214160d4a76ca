//! What jobs make for people: sealed, in parts, and not for ever.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use engine::codec::Codec;
use engine::jobs::{
    Allowance, Asked, Job, JobError, JobHandler, JobId, JobResults, JobRunner, RESULT_KEPT_DAYS,
};
use kernel::PersonId;
use uuid::Uuid;

use super::{Office, errand, fast};
use crate::feeds::eventually;

/// Somebody who has a text made.
const ANN: PersonId = PersonId(Uuid::from_u128(60));

/// Writes a long text in small pieces.
struct Scribe(JobResults);

impl Scribe {
    const PIECES: usize = 30_000;

    fn text() -> String {
        (0..Self::PIECES).map(|number| format!("piece {number}, ")).collect()
    }
}

#[async_trait]
impl JobHandler for Scribe {
    fn kind(&self) -> &'static str {
        "errand"
    }

    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let mut draft = self.0.draft(job, job.requester.expect("somebody asked"));
        for number in 0..Self::PIECES {
            draft
                .write(&format!("piece {number}, "))
                .await
                .map_err(|error| JobError::never(error.to_string()))?;
        }
        draft.finish().await.map(|_| ()).map_err(|error| JobError::never(error.to_string()))
    }
}

/// FR-OPS-003, NFR-SEC-002
#[tokio::test]
async fn what_a_job_made_is_kept_sealed_in_parts_for_seven_days_and_then_removed() {
    let office = Office::new().await;
    let ring = crate::journal_contract::keyring(&office.db.server).await;
    let codec = Codec::sealing(ring.clone(), vec![], &[1; 32]);
    let results = JobResults::new(office.db.server.clone(), codec, office.clock.clone());
    let allowed = Allowance { at_most: 9, within: TimeDelta::days(1) };
    let start = async || {
        let handlers = vec![Arc::new(Scribe(results.clone())) as Arc<dyn JobHandler>];
        JobRunner::start(&office.jobs, handlers, fast()).await.unwrap()
    };
    let runner = start().await;
    let ask = async |number| office.jobs.request(&errand(number), ANN, allowed).await.unwrap();
    assert_eq!(ask(1).await, Asked::Added);
    let keyless = JobId(Uuid::from_u128(1));
    office.is(keyless, "dead", 1).await;
    assert_eq!(results.find(keyless).await.unwrap(), None, "without a key, nothing is kept as it is");

    crate::sealing::tell_of(&office.db, &ring).await;
    assert_eq!(ask(2).await, Asked::Added);
    let job = JobId(Uuid::from_u128(2));
    office.is(job, "done", 1).await;
    let kept = results.find(job).await.unwrap().expect("it was made");
    assert!(kept.person == ANN && kept.parts > 2, "{kept:?}");
    let mut text = String::new();
    for number in 0..kept.parts {
        let part = results.part(kept, number).await.unwrap().expect("it opens");
        assert!(part.len() < 200_000, "{}", part.len());
        text.push_str(&part);
    }
    assert_eq!(text, Scribe::text());
    let client = office.db.server.get().await.unwrap();
    let count = async |sql: &str| client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
    assert_eq!(
        count("SELECT count(*) FROM job_result_parts WHERE position('piece' IN content) > 0").await,
        0
    );
    assert!(count("SELECT count(*) FROM job_result_parts").await > 2);

    runner.drain().await;
    office.clock.advance(TimeDelta::days(RESULT_KEPT_DAYS) - TimeDelta::seconds(1));
    assert_eq!(results.find(job).await.unwrap(), Some(kept));
    office.clock.advance(TimeDelta::seconds(1));
    assert_eq!(results.find(job).await.unwrap(), None, "it is over, although it lies there");
    assert_eq!(office.jobs.find(job).await.unwrap().and_then(|job| job.result_until), None);
    // The first thing that a caretaker does.
    let runner = start().await;
    eventually("it is removed", async || count("SELECT count(*) FROM job_result_parts").await == 0).await;
    runner.drain().await;
    assert_eq!(count("SELECT count(*) FROM job_results").await, 0);
}
