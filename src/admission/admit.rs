//! May this caller run this tool now? Permission, then rate, then places; then a [`Permit`].
//!
//! Called by `tools_call` for every call and by the administrative routes. Decides from the policy in
//! memory, without a hop; where the nodes share a Redis they count together, in one round trip, and each
//! for itself while it is away. Refuses by default: what no role of the caller grants is forbidden.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::clock::{Clock, DefaultClock};
use serde::Serialize;
use ultimate_mcp_actors::authorization::{AuthorizationHandle, Limits, Permission, Policy};
use ultimate_mcp_actors::ids::CallId;
use ultimate_mcp_actors::redis::RedisClient;

use super::permit::{AdminPermit, Permit, RunCaps};
use super::rate::{Limited, Rates};
use super::running::Running;
use super::shared::{SharedRates, Taken};
use crate::auth::Caller;
use crate::config::AdmissionOptions;
use crate::error::{ApiError, Code};
use crate::tools::ToolDescriptor;

/// What administrative operations are called in messages and rate limits.
const ADMINISTRATION: &str = "administration";

/// What requests that need no permission are called in rate limits.
const OWN: &str = "requests of your own";

/// Such requests per minute of a caller without roles: enough to give up a token.
const OWN_PER_MINUTE_WITHOUT_ROLES: u32 = 10;

/// After this long a caller with too many running calls, or too many callers, may try again.
const BUSY_RETRY: Duration = Duration::from_secs(1);

/// Where the policy in force is found; a look at it is a look at memory.
pub trait PolicySource: Send + Sync {
    /// Looks at the policy.
    fn policy<R>(&self, look: impl FnOnce(&Policy) -> R) -> R;
}

impl PolicySource for AuthorizationHandle {
    fn policy<R>(&self, look: impl FnOnce(&Policy) -> R) -> R {
        look(self.snapshot().policy())
    }
}

impl PolicySource for Arc<Policy> {
    fn policy<R>(&self, look: impl FnOnce(&Policy) -> R) -> R {
        look(self)
    }
}

/// How much of what admission can count and allow is in use on this node.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Usage {
    /// Calls that run now.
    pub running: usize,
    /// Callers they belong to.
    pub callers: usize,
    /// Running calls of the busiest caller.
    pub busiest_caller: usize,
    /// Most running calls of one caller.
    pub running_per_caller_max: usize,
    /// Rate limits remembered now.
    pub rates_held: usize,
    /// Most of them.
    pub rates_held_max: usize,
    /// A caller's rate over all tools, as a multiple of the role's rate per tool.
    pub total_factor: u32,
}

/// Decides who may do what now.
pub struct Admission<P = AuthorizationHandle, C: Clock = DefaultClock> {
    policy: P,
    /// Replaced while running; `keys_max` counts from the start only.
    options: Arc<ArcSwap<AdmissionOptions>>,
    rates: Rates<C>,
    /// What all nodes count together.
    shared: Option<SharedRates>,
    running: Running,
}

impl<P: PolicySource> Admission<P> {
    /// By this policy, in real time.
    pub fn new(policy: P, options: AdmissionOptions) -> Self {
        Self::with_clock(policy, options, DefaultClock::default())
    }
}

impl<P: PolicySource, C: Clock + Clone> Admission<P, C> {
    /// By this policy and a clock of the caller's.
    pub fn with_clock(policy: P, options: AdmissionOptions, clock: C) -> Self {
        let rates = Rates::new(options.keys_max, clock);
        let options = Arc::new(ArcSwap::from_pointee(options));
        Self { policy, options, rates, shared: None, running: Running::default() }
    }

    /// The limits in force. What is stored there holds from the next call on; running calls keep their
    /// places.
    pub fn options(&self) -> Arc<ArcSwap<AdmissionOptions>> {
        Arc::clone(&self.options)
    }

    /// Counts together with all nodes that use this Redis.
    pub fn shared_in(mut self, redis: Option<RedisClient>) -> Self {
        self.shared = redis.map(SharedRates::new);
        self
    }

    /// What is in use now; waits for nobody.
    pub fn usage(&self) -> Usage {
        let options = self.options.load();
        let (running, callers, busiest_caller) = self.running.usage();
        Usage {
            running,
            callers,
            busiest_caller,
            running_per_caller_max: options.running_per_caller_max,
            rates_held: self.rates.len(),
            rates_held_max: options.keys_max,
            total_factor: options.total_factor,
        }
    }

    /// Admits one call of a tool.
    ///
    /// # Errors
    /// [`Code::Forbidden`] with the permission missing in `scopes`, [`Code::RateLimited`] with the
    /// time to wait, [`Code::Overloaded`] when more callers are active than can be counted.
    pub async fn admit(
        &self,
        caller: &Caller,
        tool: &ToolDescriptor,
        call_id: CallId,
    ) -> Result<Permit, ApiError> {
        let limits = self.granted(caller, tool.permission, tool.name)?;
        // Versions of a tool share its rate.
        self.within_rates(caller, tool.plain_name(), &limits).await?;
        let max = self.options.load().running_per_caller_max;
        // A workflow only waits, for its own steps among others: it must not take the places they need.
        let slot = match tool.name {
            crate::workflow::RUN => None,
            _ => Some(self.running.enter(caller.id(), max).ok_or_else(|| {
                let message = format!(
                    "{max} of your calls are running, the most at once; wait for one to end"
                );
                ApiError::new(Code::RateLimited, message).retry_after(BUSY_RETRY)
            })?),
        };
        let caps = RunCaps::from(limits.cell);
        Ok(Permit { caller: caller.clone(), tool: tool.name, call_id, caps, slot })
    }

    /// Admits one administrative operation (`system:admin`). All of them share one rate limit.
    ///
    /// # Errors
    /// As [`Admission::admit`].
    pub async fn admit_admin(&self, caller: &Caller) -> Result<AdminPermit, ApiError> {
        let limits = self.granted(caller, Permission::SystemAdmin.as_str(), ADMINISTRATION)?;
        self.within_rates(caller, ADMINISTRATION, &limits).await?;
        Ok(AdminPermit { caller: caller.clone() })
    }

    /// Admits one request that needs no permission, such as for the caller's own token or files. All
    /// of them share one rate limit, the role's `calls_per_minute`.
    ///
    /// # Errors
    /// As [`Admission::admit`], but for the permission.
    pub async fn admit_own(&self, caller: &Caller) -> Result<(), ApiError> {
        let mut limits = self.policy.policy(|policy| policy.limits(caller.roles()));
        if limits.calls_per_minute == 0 {
            limits.calls_per_minute = OWN_PER_MINUTE_WITHOUT_ROLES;
        }
        self.within_rates(caller, OWN, &limits).await
    }

    /// Admits one reading of what is no tool's, such as a resource. Each `action` has a rate of its own; one
    /// that takes no permission shares the rate of [`Admission::admit_own`].
    ///
    /// # Errors
    /// As [`Admission::admit`].
    pub async fn admit_reading(
        &self,
        caller: &Caller,
        action: &'static str,
        permission: Option<&str>,
    ) -> Result<(), ApiError> {
        let Some(permission) = permission else { return self.admit_own(caller).await };
        let limits = self.granted(caller, permission, action)?;
        self.within_rates(caller, action, &limits).await
    }

    /// Whether a role of the caller grants the permission; for lists of what a caller may do, so no
    /// rate is counted.
    ///
    /// # Errors
    /// [`Code::Forbidden`] with the permission in `scopes`.
    pub fn admit_permission(&self, caller: &Caller, permission: &str) -> Result<(), ApiError> {
        self.granted(caller, permission, "this").map(drop)
    }

    /// Whether an administrator may give these roles to somebody: each must exist and grant nothing
    /// the administrator lacks.
    ///
    /// # Errors
    /// [`Code::InvalidArguments`] for an unknown role, [`Code::Forbidden`] for a greater one.
    pub fn may_grant(&self, admin: &AdminPermit, roles: &[String]) -> Result<(), ApiError> {
        self.policy.policy(|policy| {
            let own = policy.permissions(admin.caller.roles().iter().map(String::as_str));
            for role in roles {
                let Some(known) = policy.roles.get(role) else {
                    return Err(ApiError::new(Code::InvalidArguments, unknown_role(policy, role)));
                };
                let missing = known.permissions.iter().find(|p| !own.contains(*p));
                if let Some(permission) = missing {
                    let message = format!(
                        "role `{role}` grants {}, which you do not have yourself",
                        permission.as_str()
                    );
                    return Err(forbidden(message, permission.as_str()));
                }
            }
            Ok(())
        })
    }

    /// Whether any role of the caller grants the permission; the limits of those roles.
    fn granted(&self, caller: &Caller, permission: &str, what: &str) -> Result<Limits, ApiError> {
        let limits = self.policy.policy(|policy| {
            let needed = Permission::parse(permission)?;
            policy.permits(caller.roles(), needed).then(|| policy.limits(caller.roles()))
        });
        limits.ok_or_else(|| {
            let roles = match caller.roles() {
                [] => "you have no role here".to_owned(),
                roles => format!("none of your roles ({}) grants it", roles.join(", ")),
            };
            forbidden(format!("`{what}` needs the permission {permission}; {roles}"), permission)
        })
    }

    /// Takes one call out of the caller's bucket for everything, then of the one for this tool. Without
    /// a Redis this never waits.
    async fn within_rates(
        &self,
        caller: &Caller,
        tool: &'static str,
        limits: &Limits,
    ) -> Result<(), ApiError> {
        let for_tool = limits.calls_per_minute_for(tool);
        let for_all = limits.calls_per_minute.saturating_mul(self.options.load().total_factor);
        let rates = NonZeroU32::new(for_all.max(for_tool)).zip(NonZeroU32::new(for_tool));
        let Some((for_all, for_tool)) = rates else {
            let message = format!("your roles allow no calls of `{tool}` at all");
            return Err(ApiError::new(Code::Forbidden, message));
        };
        if let Some(shared) = &self.shared
            // On the heap, so that calls on a node of its own do not carry the room for it.
            && let Some(taken) = Box::pin(shared.take(caller.id(), tool, (for_all, for_tool))).await
        {
            return match taken {
                Taken::Both => Ok(()),
                Taken::NotOfAll(wait) => Err(used_up(for_all, "", Limited::Until(wait))),
                Taken::NotOfTool(wait) => Err(used_up(for_tool, tool, Limited::Until(wait))),
            };
        }
        for (name, rate) in [("", for_all), (tool, for_tool)] {
            let taken = self.rates.take(caller.id(), name, rate);
            taken.map_err(|limited| used_up(rate, name, limited))?;
        }
        Ok(())
    }
}

fn used_up(rate: NonZeroU32, tool: &str, limited: Limited) -> ApiError {
    match limited {
        Limited::Until(wait) => {
            let what = if tool.is_empty() { "all tools together" } else { tool };
            let message = format!("{rate} calls per minute to {what} are used up");
            ApiError::new(Code::RateLimited, message).retry_after(wait)
        }
        Limited::Full => {
            let message = "more callers are active than this server counts; try again";
            ApiError::new(Code::Overloaded, message).retry_after(BUSY_RETRY)
        }
    }
}

fn forbidden(message: String, permission: &str) -> ApiError {
    ApiError {
        scopes: Box::new([permission.to_owned()]),
        ..ApiError::new(Code::Forbidden, message)
    }
}

/// What is said about a role the policy does not know.
pub fn unknown_role(policy: &Policy, role: &str) -> String {
    let known: Vec<&str> = policy.roles.keys().map(String::as_str).collect();
    let shown: String = role.chars().take(64).collect();
    format!("there is no role `{shown}`; the policy has {}", known.join(", "))
}
