//! What admission promises.

use std::future::Future;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::FutureExt;
use governor::clock::FakeRelativeClock;
use proptest::prelude::*;
use serde_json::json;
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::authorization::{DEFAULT_POLICY, Permission, Policy};
use ultimate_mcp_actors::fault::Retry;
use ultimate_mcp_actors::ids::CallId;

use super::*;
use crate::auth::Caller;
use crate::config::{AdmissionOptions, Inputs, load};
use crate::error::{ApiError, Code};
use crate::tools::{Annotations, Edition, Effects, ToolDescriptor};

fn options() -> AdmissionOptions {
    static DEFAULTS: LazyLock<AdmissionOptions> =
        LazyLock::new(|| load(&Inputs::default()).unwrap().config.admission);
    *DEFAULTS
}

fn admission(policy: Policy) -> (Admission<Arc<Policy>, FakeRelativeClock>, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    (Admission::with_clock(Arc::new(policy), options(), clock.clone()), clock)
}

fn default_policy() -> Policy {
    Policy::from_toml(DEFAULT_POLICY).unwrap()
}

fn tool(name: &'static str, permission: &'static str) -> ToolDescriptor {
    ToolDescriptor {
        name,
        title: name,
        description: String::new(),
        input_schema: json!({}),
        output_schema: json!({}),
        annotations: Annotations::READS,
        permission,
        event_type: EventType::DataRead,
        effects: Effects::None,
        edition: Edition::ONLY,
    }
}

/// Without a Redis no admission waits.
fn now<T>(admission: impl Future<Output = T>) -> T {
    admission.now_or_never().expect("it waited")
}

fn ada(roles: &[&str]) -> Caller {
    Caller::for_tests("ada").with_roles(roles)
}

fn code(result: Result<Permit, ApiError>) -> Option<Code> {
    result.err().map(|error| error.code)
}

#[test]
fn a_permit_carries_the_limits_of_the_roles() {
    let (admission, _) = admission(default_policy());
    let call = CallId::new();
    let permit =
        now(admission.admit(&ada(&["developer"]), &tool("execute_code", "tools:execute"), call))
            .unwrap();
    assert_eq!((permit.tool(), permit.call_id()), ("execute_code", call));
    assert_eq!(permit.caller().id().as_str(), "ada");
    let caps = permit.caps();
    assert_eq!((caps.timeout_seconds_max, caps.memory_mb_max, caps.pids_max), (60.0, 1024, 128));
}

#[test]
fn a_missing_permission_is_named_so_that_the_client_can_ask_for_it() {
    let (admission, _) = admission(default_policy());
    let execute = tool("execute_code", "tools:execute");
    let error = now(admission.admit(&ada(&["viewer"]), &execute, CallId::new())).unwrap_err();
    assert_eq!((error.code, &*error.scopes), (Code::Forbidden, &["tools:execute".to_owned()][..]));
    assert!(error.public.contains("viewer") && error.public.contains("execute_code"));
    for roles in [&[][..], &["root"], &["Developer"], &["developer "]] {
        assert_eq!(
            code(now(admission.admit(&ada(roles), &execute, CallId::new()))),
            Some(Code::Forbidden)
        );
    }
    // A tool that names a permission nobody defined is not for anybody.
    let odd = tool("odd", "tools:fly");
    assert_eq!(
        code(now(admission.admit(&ada(&["admin"]), &odd, CallId::new()))),
        Some(Code::Forbidden)
    );
}

#[test]
fn too_many_calls_are_refused_until_the_limiter_says() {
    let (admission, clock) = admission(default_policy());
    let run = || {
        let tool = tool("execute_code", "tools:execute");
        now(admission.admit(&ada(&["developer"]), &tool, CallId::new()))
    };
    for n in 0..300 {
        assert!(run().is_ok(), "call {n}");
    }
    let error = run().unwrap_err();
    assert_eq!(error.code, Code::RateLimited);
    // 300 per minute: one every 200 ms; whole seconds on the wire, rounded up.
    assert_eq!(error.retry, Retry::After(Duration::from_millis(200)));
    assert_eq!(error.retry_after_seconds(), Some(1));
    clock.advance(Duration::from_millis(200));
    assert!(run().is_ok());
    assert!(run().is_err());
    // Others are not concerned.
    let bob = Caller::for_tests("bob").with_roles(&["developer"]);
    let tool = tool("execute_code", "tools:execute");
    assert!(now(admission.admit(&bob, &tool, CallId::new())).is_ok());
}

#[test]
fn limits_per_tool_do_not_add_up_without_end() {
    let (admission, _) = admission(default_policy());
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut admitted = 0;
    for name in names {
        for _ in 0..600 {
            let tool = tool(name, "tools:read");
            admitted += usize::from(
                now(admission.admit(&ada(&["developer"]), &tool, CallId::new())).is_ok(),
            );
        }
    }
    assert_eq!(admitted, 600 * options().total_factor as usize);
}

#[test]
fn one_caller_runs_only_so_many_calls_at_once() {
    let (admission, _) = admission(default_policy());
    let tool = tool("lint_code", "tools:lint");
    let run = || now(admission.admit(&ada(&["viewer"]), &tool, CallId::new()));
    let mut permits: Vec<Permit> =
        (0..options().running_per_caller_max).map(|_| run().unwrap()).collect();
    let error = run().unwrap_err();
    assert_eq!(error.code, Code::RateLimited);
    assert!(error.retry_after_seconds().is_some());
    permits.pop();
    assert!(run().is_ok());
}

#[test]
fn a_rate_of_zero_forbids() {
    let mut policy = default_policy();
    let viewer = policy.roles.get_mut("viewer").unwrap();
    viewer.limits.calls_per_minute_by_tool.insert("lint_code".to_owned(), 0);
    let (admission, _) = admission(policy);
    let lint = tool("lint_code", "tools:lint");
    assert_eq!(
        code(now(admission.admit(&ada(&["viewer"]), &lint, CallId::new()))),
        Some(Code::Forbidden)
    );
}

#[test]
fn administration_is_for_those_with_system_admin_and_gives_nobody_more_than_they_have() {
    let mut policy = default_policy();
    // A clerk administers but may not delete from the graph.
    let mut clerk = policy.roles["admin"].clone();
    clerk.permissions = [Permission::SystemAdmin, Permission::ToolsRead].into_iter().collect();
    policy.roles.insert("clerk".to_owned(), clerk);
    let (admission, _) = admission(policy);
    let error = now(admission.admit_admin(&ada(&["developer"]))).unwrap_err();
    assert_eq!((error.code, &*error.scopes), (Code::Forbidden, &["system:admin".to_owned()][..]));

    let admin = now(admission.admit_admin(&ada(&["admin"]))).unwrap();
    admission.admit_permission(&ada(&["viewer"]), "tools:read").unwrap();
    assert!(admission.admit_permission(&ada(&["viewer"]), "tools:execute").is_err());
    admission.may_grant(&admin, &["admin".to_owned(), "viewer".to_owned()]).unwrap();
    let clerk = now(admission.admit_admin(&ada(&["clerk"]))).unwrap();
    admission.may_grant(&clerk, &["clerk".to_owned()]).unwrap();
    let error = admission.may_grant(&clerk, &["viewer".to_owned()]).unwrap_err();
    assert_eq!(error.code, Code::Forbidden);
    let error = admission.may_grant(&admin, &["wizard".to_owned()]).unwrap_err();
    assert_eq!(error.code, Code::InvalidArguments);
    assert!(error.public.contains("admin, clerk, developer, viewer"), "{}", error.public);
}

proptest! {
    /// Whatever the policy and the roles: admitted exactly when a role the policy knows grants it.
    #[test]
    fn nothing_is_admitted_that_no_role_grants(
        grants in proptest::collection::vec(proptest::collection::vec(0usize..9, 0..9), 0..5),
        held in proptest::collection::vec(0usize..8, 0..5),
        wanted in 0usize..9,
    ) {
        let mut policy = default_policy();
        let template = policy.roles["viewer"].clone();
        policy.roles.clear();
        for (index, permissions) in grants.iter().enumerate() {
            let mut role = template.clone();
            role.permissions = permissions.iter().map(|&p| Permission::ALL[p]).collect();
            policy.roles.insert(format!("role{index}"), role);
        }
        let names: Vec<String> = held.iter().map(|index| format!("role{index}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let expected = held.iter().filter_map(|&h| grants.get(h)).any(|g| g.contains(&wanted));
        let (admission, _) = admission(policy);
        let tool = tool("t", Permission::ALL[wanted].as_str());
        let result = now(admission.admit(&ada(&names), &tool, CallId::new()));
        prop_assert_eq!(result.is_ok(), expected);
        if let Err(error) = result {
            prop_assert_eq!(error.code, Code::Forbidden);
            prop_assert_eq!(&*error.scopes, [Permission::ALL[wanted].as_str().to_owned()]);
        }
    }
}
