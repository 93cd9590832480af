//! The contract on SQLite, and what only a file can promise.

use super::*;
use crate::jobs::SqliteJobs;
use crate::jobs::store::Claims;

pub(super) fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteJobs::open(&dir.path().join("jobs.db"), rules()).unwrap();
    Fixture { store: Arc::new(store), keep: Box::new(dir) }
}

super::contract::suite!(super::fixture());

#[actix::test]
async fn jobs_walk_as_the_model_does() {
    super::model::walks(24, 120, || async { fixture() }).await;
}

#[actix::test]
async fn a_file_that_is_opened_again_has_every_job_and_frees_those_in_hand() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let store = SqliteJobs::open(&path, rules()).unwrap();
    for _ in 0..3 {
        store.enqueue(job(T0)).await.unwrap();
    }
    let Claims { jobs, .. } = store.claim("w", [0, 1, 0], T0, T0 + 1_000_000).await.unwrap();
    assert_eq!(jobs.len(), 1);
    drop(store);
    let store = SqliteJobs::open(&path, rules()).unwrap();
    assert_eq!(
        store.reap(T0, 10).await.unwrap().len(),
        1,
        "its worker is gone, whatever its lease"
    );
    let Claims { jobs, .. } = store.claim("w", [0, 9, 0], T0, T0 + 1).await.unwrap();
    assert_eq!(jobs.len(), 3);
}
