//! `completion/complete`: values of prompts' arguments as their documents declare them, and ids that the
//! caller could list otherwise. Never anything of somebody else's.

use chrono::{Days, Utc};
use futures_util::FutureExt;
use serde_json::{Map, Value, json};
use ultimate_mcp_actors::jobs::JobFilter;

use super::catalogue::{FAMILIES, Family};
use super::reading::{Read, Reading};
use super::{Ask, artifacts};
use crate::error::{ApiError, Code};
use crate::mcp::{Asked, Completed, Reference};
use crate::tools::artifacts::URI_PREFIX;

/// The method, as in the audit and for the rate.
const ACTION: &str = "completion/complete";
/// Days of the audit that are proposed.
const DAYS: u64 = 30;
/// Most ids looked at.
const LOOKED_AT_MAX: usize = 100;
/// Keys that begin with what is typed.
const KEYS: &str = "MATCH (n:Entity) WHERE n.key STARTS WITH $typed RETURN n.key AS key";

/// Values for an argument of a prompt or a variable of a template.
///
/// # Errors
/// `InvalidArguments` for a prompt, template, argument or variable that is not there; `Forbidden`; a rate.
pub async fn complete(ask: Ask<'_>, asked: &Asked) -> Result<Completed, ApiError> {
    let (permission, resource, work) = match &asked.reference {
        Reference::Prompt(prompt) => {
            let work = async move {
                let declared = ask.state.prompts.values(prompt, &asked.name);
                let declared = declared.ok_or_else(|| unknown("prompt and argument"))?;
                Ok(matching(declared, &asked.value))
            };
            (Some("tools:read"), prompt, work.boxed_local())
        }
        Reference::Template(uri) => {
            let family = FAMILIES.iter().find(|family| {
                let template = family.entry.uri_template;
                template == uri && template.ends_with(&format!("{{{}}}", asked.name))
            });
            let work = async move {
                let family = family.ok_or_else(|| unknown("template and variable"))?;
                Ok(matching(ids(&ask, family, &asked.value).await?, &asked.value))
            };
            (family.map(|family| family.permission), uri, work.boxed_local())
        }
    };
    ask.read(Reading { action: ACTION, permission, resource }, work).await
}

fn unknown(what: &str) -> ApiError {
    ApiError::new(Code::InvalidArguments, format!("there is no such {what}"))
}

/// Those that begin with what is typed, whatever the case.
fn matching(values: Vec<String>, typed: &str) -> Read<Completed> {
    let typed = typed.to_lowercase();
    let values: Vec<String> =
        values.into_iter().filter(|value| value.to_lowercase().starts_with(&typed)).collect();
    let facts: Map<String, Value> =
        [("values".to_owned(), values.len().into())].into_iter().collect();
    (Completed { values }, facts)
}

/// Ids of this family that the caller may know.
async fn ids(ask: &Ask<'_>, family: &Family, typed: &str) -> Result<Vec<String>, ApiError> {
    match family.entry.name {
        "artifact" => {
            let own = artifacts::list(ask).into_iter();
            Ok(own
                .filter_map(|entry| Some(entry.uri.strip_prefix(URI_PREFIX)?.to_owned()))
                .collect())
        }
        "audit-day" => {
            let today = Utc::now().date_naive();
            let days = (0..DAYS).filter_map(|days| today.checked_sub_days(Days::new(days)));
            Ok(days.map(|day| day.to_string()).collect())
        }
        "graph-neighbourhood" => {
            let call = json!({
                "cypher": KEYS, "parameters": { "typed": typed }, "row_limit": LOOKED_AT_MAX,
            });
            let answer: Value = ask.tool("graph_query", &call).await?;
            let rows = answer["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
            let mut keys: Vec<String> =
                rows.iter().filter_map(|row| row["key"].as_str().map(str::to_owned)).collect();
            keys.sort();
            Ok(keys)
        }
        _ => jobs(ask, family.entry.name == "test-report").await,
    }
}

/// The caller's newest jobs.
async fn jobs(ask: &Ask<'_>, tests_only: bool) -> Result<Vec<String>, ApiError> {
    let caller = Some(ask.caller.id().clone());
    let filter = JobFilter { caller, limit: LOOKED_AT_MAX, ..JobFilter::default() };
    let page = ask.state.engine.jobs.list(filter).await?;
    let wanted = page.jobs.iter().filter(|job| !tests_only || job.spec.tool == "run_tests");
    Ok(wanted.map(|job| job.spec.id.to_string()).collect())
}
