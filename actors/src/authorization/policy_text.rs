//! From the text of `policy.toml` to a [`Policy`]: a walk over the table that collects every mistake.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use toml::{Table, Value};

use super::permission::{Permission, Permissions};
use super::policy::{CellCaps, Combine, Limits, Policy, PolicyProblem, Role};

/// Most roles in a policy.
const ROLES_MAX: usize = 64;
/// Longest name of a role or tool, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Newest version that can be pinned.
const VERSION_MAX: u32 = 999;
/// Most tools with a limit or a version of their own, per role.
const TOOLS_MAX: usize = 256;

pub(super) fn read(text: &str) -> Result<Policy, Vec<PolicyProblem>> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(0, |span| text[..span.start].lines().count().max(1));
        vec![PolicyProblem {
            key: String::new(),
            problem: format!("line {line}: {}", error.message()),
        }]
    })?;
    let mut reader = Reader::default();
    let policy = reader.policy(&table);
    match reader.problems.is_empty() {
        true => Ok(policy),
        false => Err(reader.problems),
    }
}

#[derive(Default)]
struct Reader {
    problems: Vec<PolicyProblem>,
}

impl Reader {
    fn problem(&mut self, key: &str, problem: impl Into<String>) {
        self.problems.push(PolicyProblem { key: key.to_owned(), problem: problem.into() });
    }

    fn policy(&mut self, table: &Table) -> Policy {
        self.only(table, "", &["combine", "roles"]);
        let combine = match table.get("combine") {
            None => Combine::default(),
            Some(value) => self.combine(value),
        };
        let mut roles = BTreeMap::new();
        if let Some(named) = self.table(table, "", "roles") {
            if named.len() > ROLES_MAX {
                self.problem("roles", format!("at most {ROLES_MAX} roles"));
            }
            for (name, value) in named {
                let key = join("roles", name);
                self.name(&key, name);
                match value.as_table() {
                    Some(role) => drop(roles.insert(name.clone(), self.role(&key, role))),
                    None => self.problem(&key, "must be a table"),
                }
            }
            if !roles.values().any(|role| role.permissions.contains(Permission::SystemAdmin)) {
                self.problem("roles", "one role must grant system:admin, or nobody assigns roles");
            }
        }
        Policy { combine, roles }
    }

    fn combine(&mut self, value: &Value) -> Combine {
        match value.as_str() {
            Some("both") => Combine::Both,
            Some("token") => Combine::Token,
            Some("stored") => Combine::Stored,
            Some("union") => Combine::Union,
            _ => {
                self.problem("combine", r#"must be "both", "token", "stored" or "union""#);
                Combine::default()
            }
        }
    }

    fn role(&mut self, key: &str, table: &Table) -> Role {
        self.only(table, key, &["permissions", "limits", "cell", "versions"]);
        let permissions = self.permissions(&join(key, "permissions"), table.get("permissions"));
        let mut limits = Limits::default();
        if let Some(given) = self.table(table, key, "limits") {
            let key = join(key, "limits");
            self.only(given, &key, &["calls_per_minute", "calls_per_minute_by_tool"]);
            limits.calls_per_minute = self.rate(&key, given, "calls_per_minute");
            if given.contains_key("calls_per_minute_by_tool") {
                limits.calls_per_minute_by_tool = self.rates_by_tool(&key, given);
            }
        }
        if let Some(given) = self.table(table, key, "cell") {
            limits.cell = self.cell(&join(key, "cell"), given);
        }
        let mut versions = BTreeMap::new();
        if table.contains_key("versions") {
            versions = self.versions(&join(key, "versions"), table);
        }
        Role { permissions, limits, versions }
    }

    fn permissions(&mut self, key: &str, value: Option<&Value>) -> Permissions {
        let Some(names) = value.and_then(Value::as_array) else {
            self.problem(key, "must be a list of permissions");
            return Permissions::default();
        };
        let mut permissions = Permissions::default();
        for (index, name) in names.iter().enumerate() {
            match name.as_str().and_then(Permission::parse) {
                Some(permission) => permissions.insert(permission),
                None => {
                    let given: String = name.as_str().unwrap_or("this").chars().take(64).collect();
                    let known: Vec<_> = Permission::ALL.iter().map(|p| p.as_str()).collect();
                    let problem =
                        format!("{given} is no permission; there are {}", known.join(", "));
                    self.problem(&format!("{key}[{index}]"), problem);
                }
            }
        }
        permissions
    }

    fn rates_by_tool(&mut self, key: &str, table: &Table) -> BTreeMap<String, u32> {
        let mut rates = BTreeMap::new();
        let Some(given) = self.table(table, key, "calls_per_minute_by_tool") else { return rates };
        let key = join(key, "calls_per_minute_by_tool");
        if given.len() > TOOLS_MAX {
            self.problem(&key, format!("at most {TOOLS_MAX} tools"));
        }
        for tool in given.keys() {
            self.name(&join(&key, tool), tool);
            rates.insert(tool.clone(), self.rate(&key, given, tool));
        }
        rates
    }

    fn versions(&mut self, key: &str, table: &Table) -> BTreeMap<String, u16> {
        let mut versions = BTreeMap::new();
        let Some(given) = table.get("versions").and_then(Value::as_table) else {
            self.problem(key, "must be a table");
            return versions;
        };
        if given.len() > TOOLS_MAX {
            self.problem(key, format!("at most {TOOLS_MAX} tools"));
        }
        for tool in given.keys() {
            self.name(&join(key, tool), tool);
            let version = self.whole(key, given, tool, 1..=VERSION_MAX);
            versions.insert(tool.clone(), version as u16);
        }
        versions
    }

    fn rate(&mut self, key: &str, table: &Table, name: &str) -> u32 {
        self.whole(key, table, name, 0..=100_000_000)
    }

    fn cell(&mut self, key: &str, table: &Table) -> CellCaps {
        let keys = [
            "timeout_seconds_max",
            "memory_mb_max",
            "pids_max",
            "output_kb_max",
            "disk_mb_max",
            "cpu_max",
        ];
        self.only(table, key, &keys);
        CellCaps {
            timeout_seconds_max: self.number(key, table, "timeout_seconds_max", 0.5..=600.0),
            memory_mb_max: self.whole(key, table, "memory_mb_max", 16..=65_536),
            pids_max: self.whole(key, table, "pids_max", 1..=4096),
            output_kb_max: self.whole(key, table, "output_kb_max", 1..=65_536),
            disk_mb_max: self.whole(key, table, "disk_mb_max", 1..=65_536),
            cpu_max: self.number(key, table, "cpu_max", 0.1..=64.0),
        }
    }

    fn whole(&mut self, key: &str, table: &Table, name: &str, range: RangeInclusive<u32>) -> u32 {
        let value = table.get(name).and_then(Value::as_integer);
        match value.and_then(|value| u32::try_from(value).ok()).filter(|v| range.contains(v)) {
            Some(value) => value,
            None => {
                let problem =
                    format!("must be a whole number, {} to {}", range.start(), range.end());
                self.problem(&join(key, name), problem);
                0
            }
        }
    }

    fn number(&mut self, key: &str, table: &Table, name: &str, range: RangeInclusive<f64>) -> f64 {
        let value = table.get(name);
        let value = value.and_then(|v| v.as_float().or(v.as_integer().map(|whole| whole as f64)));
        match value.filter(|value| range.contains(value)) {
            Some(value) => value,
            None => {
                let problem = format!("must be a number, {} to {}", range.start(), range.end());
                self.problem(&join(key, name), problem);
                0.0
            }
        }
    }

    fn table<'t>(&mut self, table: &'t Table, key: &str, name: &str) -> Option<&'t Table> {
        let found = table.get(name).and_then(Value::as_table);
        if found.is_none() {
            self.problem(&join(key, name), "must be a table");
        }
        found
    }

    fn only(&mut self, table: &Table, key: &str, known: &[&str]) {
        for name in table.keys().filter(|name| !known.contains(&name.as_str())) {
            self.problem(&join(key, name), format!("unknown key; known are {}", known.join(", ")));
        }
    }

    fn name(&mut self, key: &str, name: &str) {
        let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if !fits || !name.chars().all(plain) {
            let problem = format!("names have 1 to {NAME_BYTES_MAX} of a-z, 0-9, _ and -");
            self.problem(key, problem);
        }
    }
}

fn join(key: &str, name: &str) -> String {
    match key.is_empty() {
        true => name.to_owned(),
        false => format!("{key}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use crate::authorization::policy::DEFAULT_POLICY;

    use super::*;

    #[test]
    fn the_policy_that_comes_with_the_server_grants_the_documented_table() {
        let policy = Policy::from_toml(DEFAULT_POLICY).unwrap();
        let granted = |role: &str| -> Vec<_> {
            policy.permissions([role]).iter().map(Permission::as_str).collect()
        };
        let viewer = ["tools:read", "tools:lint", "graph:query"];
        let developer = [&viewer[..], &["tools:execute", "tools:test", "tools:generate"]].concat();
        let admin = [&developer[..], &["graph:upsert", "graph:delete", "system:admin"]].concat();
        assert_eq!(granted("viewer"), viewer);
        assert_eq!(granted("developer"), developer);
        assert_eq!(granted("admin"), admin);
        assert_eq!(granted("root"), [""; 0]);
        assert_eq!((policy.combine, policy.roles.len()), (Combine::Both, 3));
    }

    #[test]
    fn a_role_says_what_a_tool_s_plain_name_means_and_the_newest_of_several_counts() {
        let pinned = |text: &str| Policy::from_toml(&format!("{DEFAULT_POLICY}\n{text}"));
        let policy =
            pinned("[roles.viewer.versions]\na = 2\nb = 1\n[roles.admin.versions]\na = 1\n");
        let policy = policy.unwrap();
        let roles = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(policy.version_of(&roles(&["viewer"]), "a"), Some(2));
        assert_eq!(policy.version_of(&roles(&["admin", "viewer"]), "a"), Some(2));
        assert_eq!(policy.version_of(&roles(&["admin", "developer"]), "a"), Some(1));
        assert_eq!(policy.version_of(&roles(&["developer", "nobody"]), "a"), None);
        let wrong = pinned("[roles.viewer.versions]\na = 0\nb = \"2\"\nC = 1\n").unwrap_err();
        let keys: Vec<_> = wrong.iter().map(|problem| problem.key.as_str()).collect();
        let at = |tool: &str| format!("roles.viewer.versions.{tool}");
        assert_eq!(keys.len(), 3, "{keys:?}");
        for tool in ["a", "b", "C"] {
            assert!(keys.contains(&at(tool).as_str()), "{keys:?}");
        }
        assert!(pinned("[roles.developer]\nversions = 3\n").is_err());
    }

    #[test]
    fn every_mistake_is_reported_at_once_with_its_key() {
        let text = r#"
            combine = "maybe"
            extra = 1
            [roles.Viewer]
            permissions = ["tools:read", "tools:fly", 3]
            [roles.Viewer.limits]
            calls_per_minute = -1
            burst = 2
            [roles.Viewer.limits.calls_per_minute_by_tool]
            execute_code = "many"
            [roles.Viewer.cell]
            timeout_seconds_max = 0.1
            memory_mb_max = 16.5
            pids_max = 99999999999
            output_kb_max = 1
            disk_mb_max = 1
        "#;
        let problems = Policy::from_toml(text).unwrap_err();
        let mut keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        keys.sort_unstable();
        let expected = [
            "combine",
            "extra",
            "roles",
            "roles.Viewer",
            "roles.Viewer.cell.cpu_max",
            "roles.Viewer.cell.memory_mb_max",
            "roles.Viewer.cell.pids_max",
            "roles.Viewer.cell.timeout_seconds_max",
            "roles.Viewer.limits.burst",
            "roles.Viewer.limits.calls_per_minute",
            "roles.Viewer.limits.calls_per_minute_by_tool.execute_code",
            "roles.Viewer.permissions[1]",
            "roles.Viewer.permissions[2]",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn a_text_that_is_no_toml_is_reported_with_its_line() {
        let problems = Policy::from_toml("combine = \"both\"\n[roles\n").unwrap_err();
        assert!(problems[0].to_string().starts_with("line 2:"), "{problems:?}");
        assert!(Policy::from_toml("").is_err(), "a policy without roles");
        assert!(Policy::from_toml("roles = 3").is_err());
    }

    #[test]
    fn several_roles_have_the_largest_of_each_limit() {
        let mut policy = Policy::from_toml(DEFAULT_POLICY).unwrap();
        let viewer = policy.roles.get_mut("viewer").unwrap();
        viewer.limits.calls_per_minute_by_tool.insert("lint_code".into(), 5);
        viewer.limits.cell.pids_max = 4000;
        let both = policy.limits(&["viewer".into(), "developer".into(), "nobody".into()]);
        assert_eq!(both.calls_per_minute, 600);
        assert_eq!(both.calls_per_minute_for("lint_code"), 600, "the developer has no such bound");
        assert_eq!(both.calls_per_minute_for("execute_code"), 300, "the viewer has 120");
        assert_eq!((both.cell.pids_max, both.cell.memory_mb_max), (4000, 1024));
        assert_eq!(policy.limits(&["nobody".into()]), Limits::default());
    }
}
