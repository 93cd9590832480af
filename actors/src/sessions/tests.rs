//! What the sessions promise, over all shards.

use serde_json::{Value, json};

use super::actor::Crash;
use super::*;
use crate::fault::{Classify, Kind};
use crate::testing::{caller, root, soon};

fn new(owner: &str) -> NewSession {
    NewSession {
        owner: caller(owner),
        protocol_version: "2025-06-18".into(),
        client_capabilities: json!({ "sampling": {} }),
        client_info: json!({ "name": "test" }),
    }
}

async fn started(options: SessionsOptions) -> SessionsHandle {
    SessionsHandle::start(&root(), options).await.unwrap()
}

#[actix::test]
async fn a_session_is_found_by_its_owner_only_until_it_is_ended() {
    let sessions = started(SessionsOptions::default()).await;
    let (ada, eve) = (caller("ada"), caller("eve"));
    for _ in 0..20 {
        let session = sessions.create(new("ada"), soon()).await.unwrap();
        let id = &session.id;
        let version = uuid::Uuid::parse_str(id.as_str()).unwrap().get_version_num();
        assert_eq!(version, 4);
        assert_eq!(sessions.get(id, &ada, soon()).await.unwrap().as_ref(), Some(&session));
        assert_eq!(sessions.get(id, &eve, soon()).await.unwrap(), None);
        assert!(!sessions.remove(id, &eve, soon()).await.unwrap());
        assert!(sessions.remove(id, &ada, soon()).await.unwrap());
        assert_eq!(sessions.get(id, &ada, soon()).await.unwrap(), None);
    }
    assert_eq!(sessions.total(), 0);
}

#[actix::test]
async fn caps_hold_over_all_shards() {
    let options = SessionsOptions { per_owner_max: 5, total_max: 8, ..Default::default() };
    let sessions = started(options).await;
    for _ in 0..5 {
        sessions.create(new("ada"), soon()).await.unwrap();
    }
    let refused = sessions.create(new("ada"), soon()).await.unwrap_err();
    assert!(matches!(refused, SessionsError::TooManyOfOwner(5)), "{refused:?}");
    assert_eq!(refused.kind(), Kind::LimitExceeded);
    for _ in 0..3 {
        sessions.create(new("bob"), soon()).await.unwrap();
    }
    let refused = sessions.create(new("bob"), soon()).await.unwrap_err();
    assert!(matches!(refused, SessionsError::TooMany(8)), "{refused:?}");
}

#[actix::test]
async fn a_crashed_shard_loses_its_own_sessions_and_frees_their_places() {
    let sessions = started(SessionsOptions { shards: 2, ..Default::default() }).await;
    let mut all = Vec::new();
    for _ in 0..40 {
        all.push(sessions.create(new("ada"), soon()).await.unwrap());
    }
    sessions.shards[0].ask(Crash, soon()).await.unwrap_err();
    let mut left = 0;
    for session in &all {
        let found = sessions.get(&session.id, &caller("ada"), soon()).await.unwrap();
        let of_crashed = std::ptr::eq(sessions.shard(&session.id), &sessions.shards[0]);
        assert_eq!(found.is_none(), of_crashed);
        left += usize::from(found.is_some());
    }
    assert!(left > 0 && left < 40);
    assert_eq!(sessions.total(), left);
    sessions.create(new("ada"), soon()).await.unwrap();
}

#[actix::test]
async fn what_a_client_says_about_itself_is_bounded() {
    let sessions = started(SessionsOptions::default()).await;
    let long = || Value::String("x".repeat(CLIENT_BYTES_MAX));
    let bad = [
        NewSession { client_capabilities: long(), ..new("ada") },
        NewSession { client_info: long(), ..new("ada") },
        NewSession { protocol_version: "2".repeat(65), ..new("ada") },
    ];
    for new in bad {
        let error = sessions.create(new, soon()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidInput, "{error:?}");
    }
    assert_eq!(sessions.total(), 0);
}
