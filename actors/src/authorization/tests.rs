//! What authorization promises: nobody gains a right, nothing durable is forgotten.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use tempfile::TempDir;

use super::policy::Combine;
use super::registry::Registry;
use super::*;
use crate::fault::{Classify, Kind};
use crate::testing::{caller as id, root, soon};

static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::from_toml(DEFAULT_POLICY).unwrap());

fn policy(combine: Combine) -> Arc<Policy> {
    Arc::new(Policy { combine, ..POLICY.clone() })
}

fn node() -> NodeId {
    NodeId::parse("test").unwrap()
}

struct Bench {
    dir: TempDir,
    options: AuthorizationOptions,
}

impl Bench {
    fn new() -> Self {
        Self { dir: TempDir::new().unwrap(), options: AuthorizationOptions::default() }
    }

    fn open(&self, combine: Combine) -> Registry {
        let path = self.dir.path().join("state.db");
        Registry::open(&path, policy(combine), self.options.clone(), node()).unwrap()
    }
}

const ROLES: [&str; 5] = ["viewer", "developer", "admin", "ghost", "Admin"];

fn some_roles() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(prop::sample::select(&ROLES[..]).prop_map(str::to_owned), 0..5)
}

proptest! {
    #[test]
    fn no_combination_of_token_and_stored_roles_grants_more_than_they_say(
        token in some_roles(),
        stored in prop::option::of(some_roles()),
    ) {
        let ada = id("ada");
        for combine in [Combine::Both, Combine::Token, Combine::Stored, Combine::Union] {
            let mut snapshot = Snapshot::empty(policy(combine));
            if let Some(stored) = &stored {
                snapshot.roles.insert("ada", stored.clone().into());
            }
            let roles = snapshot.effective_roles(&ada, &token);
            let in_store = |role: &String| stored.as_ref().is_some_and(|s| s.contains(role));
            for role in roles.iter() {
                prop_assert!(token.contains(role) || in_store(role), "{combine:?} invented {role}");
                prop_assert!(snapshot.policy().roles.contains_key(role), "unknown {role}");
                if combine != Combine::Stored && combine != Combine::Union {
                    prop_assert!(token.contains(role), "{combine:?} granted {role} beyond the token");
                }
                if combine == Combine::Stored || (combine == Combine::Both && stored.is_some()) {
                    prop_assert!(in_store(role), "{combine:?} granted {role} beyond the store");
                }
            }
            prop_assert!(roles.is_sorted());
            let union = token.iter().chain(stored.iter().flatten()).map(String::as_str);
            let most = snapshot.policy().permissions(union);
            for permission in Permission::ALL {
                let granted = snapshot.permits(&roles, *permission);
                prop_assert!(!granted || most.contains(*permission));
                let by_one = roles.iter().any(|r| snapshot.policy().permissions([r.as_str()]).contains(*permission));
                prop_assert_eq!(granted, by_one);
            }
            prop_assert!(!snapshot.permits(&["ghost".into(), "Admin".into()], Permission::ToolsRead));
            prop_assert!(!snapshot.permits(&[], Permission::ToolsRead));
        }
    }
}

#[test]
fn a_user_whose_last_stored_role_is_removed_is_granted_nothing_rather_than_the_token_s_roles() {
    let bench = Bench::new();
    let mut registry = bench.open(Combine::Both);
    let (ada, root) = (id("ada"), id("root"));
    let token = ["admin".to_owned(), "viewer".to_owned()];
    let roles = |registry: &Registry| registry.snapshot().effective_roles(&ada, &token);
    assert_eq!(*roles(&registry), token, "unknown to the store: the token counts");
    assert!(registry.assign(&ada, "viewer", &root, 7).unwrap());
    assert_eq!(*roles(&registry), ["viewer"]);
    assert!(registry.remove(&ada, "viewer").unwrap());
    assert!(!registry.remove(&ada, "viewer").unwrap());
    assert_eq!(roles(&registry).len(), 0);
    assert_eq!(bench.open(Combine::Both).snapshot().stored_roles(&ada), Some(&[][..]));
}

#[test]
fn changes_survive_a_reopening_with_their_origin() {
    let bench = Bench::new();
    let (ada, bob, root) = (id("ada"), id("bob"), id("root"));
    {
        let mut registry = bench.open(Combine::Both);
        assert!(registry.assign(&ada, "developer", &root, 70).unwrap());
        assert!(registry.assign(&ada, "admin", &root, 71).unwrap());
        assert!(!registry.assign(&ada, "admin", &bob, 99).unwrap(), "the first grant stands");
        registry.revoke_token("t-1", 10_000, 0).unwrap();
        registry.revoke_user(&bob, 500).unwrap();
        registry.revoke_user(&bob, 400).unwrap();
    }
    let registry = bench.open(Combine::Both);
    let origin = registry.roles_of(&ada).unwrap().unwrap();
    let admin = Assignment { role: "admin".into(), granted_by: "root".into(), granted_at: 71 };
    assert_eq!((origin.len(), &origin[0]), (2, &admin));
    assert_eq!(registry.roles_of(&bob).unwrap(), None);
    let snapshot = registry.snapshot();
    assert!(snapshot.is_revoked(Some("t-1"), &ada, Some(9_000)));
    assert!(!snapshot.is_revoked(Some("t-2"), &ada, Some(9_000)));
    assert!(snapshot.is_revoked(None, &bob, Some(500)), "issued in the second of the revocation");
    assert!(snapshot.is_revoked(None, &bob, None), "a token that does not say counts as old");
    assert!(!snapshot.is_revoked(None, &bob, Some(501)));
}

#[test]
fn expired_revocations_are_dropped_and_live_ones_kept() {
    let bench = Bench::new();
    let mut registry = bench.open(Combine::Both);
    registry.revoke_token("old", 1_000, 0).unwrap();
    registry.revoke_token("live", 10_000, 0).unwrap();
    assert_eq!(registry.purge(1_001).unwrap(), 0, "verifiers grant a leeway");
    assert_eq!(registry.purge(5_000).unwrap(), 1);
    let snapshot = registry.snapshot();
    assert!(!snapshot.is_revoked(Some("old"), &id("ada"), Some(0)));
    assert!(snapshot.is_revoked(Some("live"), &id("ada"), Some(0)));
    assert!(bench.open(Combine::Both).snapshot().is_revoked(Some("live"), &id("ada"), Some(0)));
}

#[test]
fn only_roles_of_the_policy_are_stored_and_the_error_lists_them() {
    let mut registry = Bench::new().open(Combine::Both);
    for role in ["root", "", "Admin", &"x".repeat(1000)] {
        let error = registry.assign(&id("ada"), role, &id("root"), 0).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidInput);
        assert!(error.to_string().contains("admin, developer, viewer"), "{error}");
        assert!(error.to_string().len() < 200);
    }
}

#[test]
fn bounds_on_users_tokens_and_ids_are_typed_errors() {
    let mut bench = Bench::new();
    bench.options.users_max = 2;
    bench.options.revoked_tokens_max = 2;
    let mut registry = bench.open(Combine::Both);
    let root = id("root");
    for user in ["a", "b"] {
        registry.assign(&id(user), "viewer", &root, 0).unwrap();
        registry.revoke_user(&id(user), 1).unwrap();
    }
    let kind = |error: AuthorizationError| error.kind();
    let refused = registry.assign(&id("c"), "viewer", &root, 0).unwrap_err();
    assert_eq!(kind(refused), Kind::LimitExceeded);
    assert!(registry.assign(&id("a"), "admin", &root, 0).is_ok(), "a known user still can");
    assert_eq!(kind(registry.revoke_user(&id("c"), 1).unwrap_err()), Kind::LimitExceeded);
    assert!(registry.revoke_user(&id("a"), 2).is_ok());

    registry.revoke_token("one", 100, 0).unwrap();
    registry.revoke_token("two", 100_000, 0).unwrap();
    assert_eq!(kind(registry.revoke_token("three", 100_000, 50).unwrap_err()), Kind::LimitExceeded);
    assert!(registry.revoke_token("three", 100_000, 9_999).is_ok(), "the expired one made room");
    for jti in ["", "a\nb", &"x".repeat(TOKEN_ID_BYTES_MAX + 1)] {
        assert_eq!(kind(registry.revoke_token(jti, 1, 0).unwrap_err()), Kind::InvalidInput);
    }
}

#[test]
fn a_user_has_at_most_32_roles() {
    let mut many = POLICY.clone();
    for n in 0..40 {
        many.roles.insert(format!("role-{n:02}"), Role::default());
    }
    let dir = TempDir::new().unwrap();
    let options = AuthorizationOptions::default();
    let mut registry =
        Registry::open(&dir.path().join("state.db"), Arc::new(many), options, node()).unwrap();
    for n in 0..ROLES_PER_USER_MAX {
        registry.assign(&id("ada"), &format!("role-{n:02}"), &id("root"), 0).unwrap();
    }
    let error = registry.assign(&id("ada"), "viewer", &id("root"), 0).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(!registry.assign(&id("ada"), "role-00", &id("root"), 0).unwrap());
}

#[test]
fn where_only_stored_roles_count_the_last_administrator_stays() {
    let bench = Bench::new();
    let mut registry = bench.open(Combine::Stored);
    let (ada, bob) = (id("ada"), id("bob"));
    registry.assign(&ada, "admin", &ada, 0).unwrap();
    registry.assign(&bob, "viewer", &ada, 0).unwrap();
    let error = registry.remove(&ada, "admin").unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(registry.remove(&bob, "viewer").unwrap());
    registry.assign(&bob, "admin", &ada, 0).unwrap();
    assert!(registry.remove(&ada, "admin").unwrap());
    drop(registry);
    assert!(bench.open(Combine::Both).remove(&bob, "admin").unwrap(), "tokens still administrate");
}

async fn started(bench: &Bench) -> AuthorizationHandle {
    let path = bench.dir.path().join("state.db");
    let policy = POLICY.clone();
    AuthorizationHandle::start(&root(), &path, policy, bench.options.clone(), node(), None)
        .await
        .unwrap()
}

#[actix::test]
async fn a_change_is_in_force_when_its_caller_hears_so() {
    let bench = Bench::new();
    let handle = started(&bench).await;
    let (ada, root) = (id("ada"), id("root"));
    let token = ["admin".to_owned()];
    assert_eq!(*handle.snapshot().effective_roles(&ada, &token), token);
    assert!(handle.assign_role(&ada, "viewer", &root, soon()).await.unwrap());
    assert_eq!(handle.snapshot().effective_roles(&ada, &token).len(), 0);
    handle.revoke_token("t-1", i64::MAX, soon()).await.unwrap();
    assert!(handle.snapshot().is_revoked(Some("t-1"), &ada, None));
    handle.revoke_user(&ada, 100, soon()).await.unwrap();
    assert!(handle.snapshot().is_revoked(None, &ada, Some(100)));
    assert!(handle.remove_role(&ada, "viewer", soon()).await.unwrap());
    assert_eq!(handle.roles_of(&ada, soon()).await.unwrap(), Some(vec![]));
    assert_eq!(handle.roles_of(&root, soon()).await.unwrap(), None);
}

#[actix::test]
async fn a_crash_forgets_neither_what_was_stored_nor_the_policy_in_force() {
    let bench = Bench::new();
    let handle = started(&bench).await;
    let ada = id("ada");
    handle.assign_role(&ada, "viewer", &id("root"), soon()).await.unwrap();
    let mut stricter = POLICY.clone();
    stricter.roles.remove("developer");
    handle.replace_policy(stricter, soon()).await.unwrap();
    let crash = handle.child.ask(Change::Crash, soon()).await.map(drop);
    assert_eq!(crash.unwrap_err().kind(), Kind::Crashed);
    assert_eq!(handle.snapshot().stored_roles(&ada), Some(&["viewer".to_owned()][..]));
    let refused = handle.assign_role(&ada, "developer", &id("root"), soon()).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::InvalidInput, "the replaced policy holds: {refused}");
    assert!(handle.assign_role(&ada, "admin", &id("root"), soon()).await.unwrap());
    assert_eq!(handle.snapshot().stored_roles(&ada).unwrap().len(), 2);
}

#[test]
fn an_erased_user_is_forgotten_but_for_what_keeps_old_tokens_void() {
    let bench = Bench::new();
    let (ada, bob) = (id("ada"), id("bob"));
    let mut registry = bench.open(Combine::Both);
    registry.assign(&ada, "developer", &bob, 5).unwrap();
    registry.assign(&bob, "viewer", &ada, 5).unwrap();
    registry.revoke_user(&ada, 50).unwrap();
    assert!(registry.erase(&ada, 100, 200).unwrap());
    assert!(!registry.erase(&id("nobody"), 100, 200).unwrap());
    for registry in [&registry, &bench.open(Combine::Both)] {
        let snapshot = registry.snapshot();
        assert_eq!(snapshot.stored_roles(&ada), None);
        assert!(snapshot.is_revoked(None, &ada, Some(100)), "a token from before");
        assert!(!snapshot.is_revoked(None, &ada, Some(101)), "a new one");
        assert!(!snapshot.is_revoked(None, &bob, Some(1)));
        assert_eq!(registry.roles_of(&ada).unwrap(), None);
        assert_eq!(registry.roles_of(&bob).unwrap().unwrap()[0].granted_by, "[erased]");
    }
    for file in ["state.db", "state.db-wal"] {
        let bytes = std::fs::read(bench.dir.path().join(file)).unwrap_or_default();
        if file == "state.db" {
            assert!(!String::from_utf8_lossy(&bytes).contains("ada"), "the name is in {file}");
        }
    }
    assert!(registry.purge(200 + 3601).unwrap() >= 1);
    assert!(!registry.snapshot().is_revoked(None, &ada, Some(100)));
}

#[test]
fn the_last_administrator_cannot_be_erased_where_only_stored_roles_count() {
    let bench = Bench::new();
    let (ada, bob) = (id("ada"), id("bob"));
    let mut registry = bench.open(Combine::Stored);
    registry.assign(&ada, "admin", &ada, 5).unwrap();
    let refused = registry.erase(&ada, 100, 200).unwrap_err();
    assert!(matches!(refused, AuthorizationError::LastAdministrator), "{refused:?}");
    registry.assign(&bob, "admin", &ada, 5).unwrap();
    assert!(registry.erase(&ada, 100, 200).unwrap());
}
