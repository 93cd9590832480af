//! The promises of journals, for every store.

use super::contract::{finish, running};
use super::*;
use crate::jobs::store::{End, Grip};

pub(super) async fn a_journal_is_written_by_who_holds_the_job_and_goes_with_it(fixture: Fixture) {
    let store = &fixture.store;
    let grip = running(store, job(T0), T0).await;
    assert_eq!(store.journal(grip.id).await.unwrap(), Vec::<Vec<u8>>::new());
    // Eleven entries: in order of their numbers, not of their texts.
    for entry in 0..11_u32 {
        assert!(store.note(grip, entry, vec![entry as u8, 0]).await.unwrap());
    }
    assert!(store.note(grip, 3, b"again".to_vec()).await.unwrap());
    let read = store.journal(grip.id).await.unwrap();
    let expected: Vec<Vec<u8>> = (0..11_u8)
        .map(|entry| if entry == 3 { b"again".to_vec() } else { vec![entry, 0] })
        .collect();
    assert_eq!(read, expected);
    // An old grip, and a job that is over, change nothing.
    let stale = Grip { grip: grip.grip + 1, ..grip };
    assert!(!store.note(stale, 0, b"no".to_vec()).await.unwrap());
    assert!(finish(store, grip, End::Completed { is_error: false }, T0 + 1).await);
    assert!(!store.note(grip, 11, b"late".to_vec()).await.unwrap());
    assert_eq!(store.journal(grip.id).await.unwrap(), expected);
    // Forgotten together.
    store.purge(T0 + 1_000_000, 10).await.unwrap();
    assert_eq!(store.journal(grip.id).await.unwrap(), Vec::<Vec<u8>>::new());
}
