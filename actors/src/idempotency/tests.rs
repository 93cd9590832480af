//! One contract, two stores: what an idempotency key promises.

use std::time::{Duration, Instant};

use tempfile::TempDir;
use ultimate_mcp_testkit::Redis;

use super::*;
use crate::redis::{RedisMode, RedisOptions};
use crate::testing::{caller, root, soon};

/// A store of either kind, and the way to a second node (or process) on the same keys.
struct Bench {
    folder: TempDir,
    redis: Option<Redis>,
    options: IdempotencyOptions,
}

impl Bench {
    fn both(options: IdempotencyOptions) -> [Self; 2] {
        let folder = || TempDir::new().unwrap();
        [
            Self { folder: folder(), redis: None, options: options.clone() },
            Self { folder: folder(), redis: Some(Redis::start()), options },
        ]
    }

    async fn node(&self) -> IdempotencyHandle {
        let client = self.redis.as_ref().map(|redis| {
            let mode = RedisMode::Single;
            let urls = vec![redis.url()];
            let options =
                RedisOptions { urls, mode, command_timeout_ms: 300, ..Default::default() };
            RedisClient::new(options, Arc::new(|_: &str, _| {})).unwrap()
        });
        let path = self.folder.path().join("idempotency.db");
        IdempotencyHandle::start(&root(), &path, self.options.clone(), client).await.unwrap()
    }
}

fn attempt(key: &str, request: u8) -> Attempt {
    Attempt {
        caller: caller("ada"),
        key: IdempotencyKey::parse(key).unwrap(),
        request: [request; 32],
        harmless: false,
    }
}

async fn begin(keys: &IdempotencyHandle, attempt: Attempt) -> Begun {
    keys.begin(attempt, soon()).await.unwrap()
}

async fn fresh(keys: &IdempotencyHandle, attempt: Attempt) -> Claim {
    match begin(keys, attempt).await {
        Begun::Fresh(claim) => claim,
        other => panic!("{other:?}"),
    }
}

/// Until the answer is of this kind: what a dropped claim leaves is stored in the background.
async fn until(keys: &IdempotencyHandle, attempt: &Attempt, wanted: fn(&Begun) -> bool) -> Begun {
    let started = Instant::now();
    loop {
        let begun = begin(keys, attempt.clone()).await;
        if wanted(&begun) {
            return begun;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "{begun:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[actix::test]
async fn a_key_runs_once_and_is_answered_ever_after() {
    for bench in Bench::both(IdempotencyOptions::default()) {
        let keys = bench.node().await;
        let claim = fresh(&keys, attempt("k", 1)).await;
        assert!(matches!(begin(&keys, attempt("k", 1)).await, Begun::Running));
        assert!(matches!(begin(&keys, attempt("k", 2)).await, Begun::Different));
        claim.answer(b"the answer".to_vec()).await.unwrap();
        for _ in 0..2 {
            let Begun::Answered(Some(answer)) = begin(&keys, attempt("k", 1)).await else {
                panic!("not answered")
            };
            assert_eq!(answer, b"the answer");
        }
        assert!(matches!(begin(&keys, attempt("k", 2)).await, Begun::Different));
        // Another caller's key of the same name is another key.
        let other = Attempt { caller: caller("bob"), ..attempt("k", 2) };
        fresh(&keys, other).await;
    }
}

#[actix::test]
async fn of_many_who_begin_at_once_one_runs() {
    for bench in Bench::both(IdempotencyOptions::default()) {
        let keys = bench.node().await;
        let all = (0..20).map(|_| begin(&keys, attempt("k", 1)));
        let all = futures_util::future::join_all(all).await;
        assert_eq!(all.iter().filter(|begun| matches!(begun, Begun::Fresh(_))).count(), 1);
        assert_eq!(all.iter().filter(|begun| matches!(begun, Begun::Running)).count(), 19);
    }
}

#[actix::test]
async fn what_was_not_done_may_be_tried_again() {
    for bench in Bench::both(IdempotencyOptions::default()) {
        let keys = bench.node().await;
        fresh(&keys, attempt("k", 1)).await.release().await.unwrap();
        // Even as another request: the first one never was.
        let claim = fresh(&keys, attempt("k", 2)).await;
        claim.answer(vec![]).await.unwrap();
        assert!(matches!(begin(&keys, attempt("k", 2)).await, Begun::Answered(Some(_))));
    }
}

#[actix::test]
async fn a_run_that_was_cut_off_is_unknown_unless_it_can_do_no_harm() {
    for bench in Bench::both(IdempotencyOptions::default()) {
        let keys = bench.node().await;
        drop(fresh(&keys, attempt("k", 1)).await);
        until(&keys, &attempt("k", 1), |begun| matches!(begun, Begun::Unknown)).await;
        let harmless = Attempt { harmless: true, ..attempt("h", 1) };
        drop(fresh(&keys, harmless.clone()).await);
        until(&keys, &harmless, |begun| matches!(begun, Begun::Fresh(_))).await;
    }
}

#[actix::test]
async fn a_process_that_was_killed_leaves_a_key_that_is_never_run_again() {
    let [local, shared] = Bench::both(IdempotencyOptions::default());
    // A claim that is forgotten is what kill -9 leaves.
    let keys = local.node().await;
    std::mem::forget(fresh(&keys, attempt("k", 1)).await);
    let after = local.node().await;
    assert!(matches!(begin(&after, attempt("k", 1)).await, Begun::Unknown));

    // Another node cannot know that the first is dead before its deadline has passed.
    let (a, b) = (shared.node().await, shared.node().await);
    std::mem::forget(fresh(&a, attempt("k", 1)).await);
    assert!(matches!(begin(&b, attempt("k", 1)).await, Begun::Running));
    let redis = shared.redis.as_ref().unwrap();
    let row = redis.cli(&["keys", "ump:idem:{*}:*"]);
    redis.cli(&["hset", &row, "lease", "1"]);
    assert!(matches!(begin(&b, attempt("k", 1)).await, Begun::Unknown));
}

#[actix::test]
async fn an_answer_given_on_one_node_is_given_by_all_and_survives_a_restart() {
    for mut bench in Bench::both(IdempotencyOptions::default()) {
        let claim = fresh(&bench.node().await, attempt("k", 1)).await;
        claim.answer(b"x".to_vec()).await.unwrap();
        if let Some(redis) = &mut bench.redis {
            redis.kill();
            redis.restart();
        }
        let other = bench.node().await;
        let Begun::Answered(Some(answer)) = begin(&other, attempt("k", 1)).await else {
            panic!("forgotten")
        };
        assert_eq!(answer, b"x");
    }
}

#[actix::test]
async fn keys_are_bounded_in_number_size_and_time() {
    let options =
        IdempotencyOptions { entries_per_caller_max: 3, answer_kb_max: 1, ..Default::default() };
    for bench in Bench::both(options) {
        let keys = bench.node().await;
        let claim = fresh(&keys, attempt("0", 1)).await;
        claim.answer(vec![b'x'; 2000]).await.unwrap();
        assert!(matches!(begin(&keys, attempt("0", 1)).await, Begun::Answered(None)));
        let _held = [fresh(&keys, attempt("1", 1)).await, fresh(&keys, attempt("2", 1)).await];
        let refused = keys.begin(attempt("3", 1), soon()).await.unwrap_err();
        assert!(matches!(refused, IdempotencyError::TooManyOfCaller(3)), "{refused:?}");
        if let Some(redis) = &bench.redis {
            for key in redis.cli(&["keys", "ump:idem:*"]).lines() {
                let lives_ms: i64 = redis.cli(&["pttl", key]).parse().unwrap();
                assert!((1..=86_400_000).contains(&lives_ms), "{key}: {lives_ms}");
            }
        }
    }
    for bad in ["", "a b", "é", &"x".repeat(129)] {
        assert!(IdempotencyKey::parse(bad).is_err(), "{bad}");
    }
}

#[actix::test]
async fn expired_keys_are_forgotten_on_disk() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("idempotency.db");
    let mut store = store::Store::open(&path, "me".into(), IdempotencyOptions::default()).unwrap();
    let day_ms = 86_400_000;
    let minute = Duration::from_secs(60);
    let fresh = store::Said::Standing(Standing::Fresh);
    assert_eq!(store.begin(&attempt("k", 1), 1, minute, 0).unwrap(), fresh);
    assert_ne!(store.begin(&attempt("k", 1), 2, minute, day_ms - 1).unwrap(), fresh);
    assert_eq!(store.begin(&attempt("k", 2), 3, minute, day_ms).unwrap(), fresh);
    store.purge(3 * day_ms).unwrap();
    assert_eq!(store.begin(&attempt("k", 3), 4, minute, 3 * day_ms).unwrap(), fresh);
}

#[actix::test]
async fn without_redis_nothing_begins_and_nobody_waits_long() {
    let [_, bench] = Bench::both(IdempotencyOptions::default());
    let keys = bench.node().await;
    fresh(&keys, attempt("k", 1)).await.answer(vec![]).await.unwrap();
    let redis = bench.redis.as_ref().unwrap();
    redis.pause();
    for n in 0..6 {
        let asked = Instant::now();
        let refused = keys.begin(attempt(&n.to_string(), 1), soon()).await.unwrap_err();
        assert!(matches!(refused, IdempotencyError::Redis(_)), "{refused:?}");
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    }
    redis.resume();
    let started = Instant::now();
    while keys.begin(attempt("k", 1), soon()).await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
