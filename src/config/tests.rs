//! What the loader promises, each promise a test.

use std::ffi::OsString;
use std::path::PathBuf;

use ultimate_mcp_actors::authorization::DEFAULT_POLICY;

use super::*;
use crate::tools::artifacts::ArtifactOptions;

fn env(pairs: &[(&str, &str)]) -> Inputs {
    let env = pairs.iter().map(|(k, v)| (OsString::from(k), OsString::from(v))).collect();
    Inputs { env, ..Inputs::default() }
}

struct Files(tempfile::TempDir, Vec<PathBuf>);

impl Files {
    fn new(texts: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (name, text) in texts {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            paths.push(path);
        }
        Self(dir, paths)
    }

    fn inputs(&self) -> Inputs {
        assert!(self.0.path().is_dir());
        Inputs { files: self.1.clone(), ..Inputs::default() }
    }
}

/// `source-name: key: problem` of every mistake, with the directory taken off file names.
fn mistakes(inputs: &Inputs) -> Vec<String> {
    let error = load(inputs).expect_err("must be refused");
    let short = |m: &Mistake| {
        let source = m.source.rsplit('/').next().unwrap().to_owned();
        Mistake { source, ..m.clone() }.to_string()
    };
    error.mistakes.iter().map(short).collect()
}

#[test]
fn the_embedded_defaults_are_a_complete_configuration() {
    let config = load(&Inputs::default()).unwrap().config;
    assert_eq!(config.http.port, 8484);
    assert!(config.http.bind.is_loopback());
    assert_eq!(config.data_dir, PathBuf::from("./data"));
    assert_eq!(config.auth.token_ttl_seconds, 86_400);
    assert!(config.policy_file.is_none() && config.auth.keys.is_empty());
}

#[test]
fn every_key_of_base_toml_is_documented_and_every_number_has_a_range_that_holds_its_default() {
    let loaded = load(&Inputs::default()).unwrap();
    let mut undocumented = Vec::new();
    for doc in &loaded.docs {
        let value = loaded.figment.find_value(&doc.key).unwrap();
        let number = matches!(value, figment::value::Value::Num(..));
        if doc.comment.len() < 15 || number != doc.range.is_some() {
            undocumented.push(doc.key.clone());
        }
    }
    assert_eq!(undocumented, Vec::<String>::new());
    // The line scanner and the TOML parser see the same keys.
    let mut parsed = dump::leaves(&loaded.figment.extract().unwrap());
    let mut scanned: Vec<_> = loaded.docs.iter().map(|doc| doc.key.clone()).collect();
    parsed.sort();
    scanned.sort();
    assert_eq!(parsed, scanned);
    // A default outside its own range would be refused as soon as somebody wrote it down.
    let files = Files::new(&[("base.toml", BASE_TOML)]);
    load(&files.inputs()).unwrap();
}

#[test]
fn the_files_shipped_beside_base_toml_load() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config");
    for name in ["local.toml", "production.toml"] {
        let inputs = Inputs { files: vec![root.join(name)], ..Inputs::default() };
        load(&inputs).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn later_files_win_over_earlier_ones_and_the_environment_over_all_files() {
    let files = Files::new(&[
        ("a.toml", "[http]\nport = 1000\nworkers = 3\ndrain_seconds = 1"),
        ("b.toml", "[http]\nport = 2000\nworkers = 4"),
    ]);
    let mut inputs = files.inputs();
    inputs.env = env(&[("ULTIMATE_MCP__HTTP__PORT", "3000"), ("OTHER", "x")]).env;
    let loaded = load(&inputs.flag("--data-dir", "data_dir", "/srv/x")).unwrap();
    let http = &loaded.config.http;
    assert_eq!((http.port, http.workers, http.drain_seconds), (3000, 4, 1));
    assert_eq!(loaded.config.data_dir, PathBuf::from("/srv/x"));
    assert_eq!(loaded.source_of("http.port"), "ULTIMATE_MCP__HTTP__PORT");
    assert!(loaded.source_of("http.workers").ends_with("b.toml"));
    assert_eq!(loaded.source_of("http.bind"), "default");
}

#[test]
fn environment_values_are_read_like_toml_but_text_stays_text() {
    let loaded = load(&env(&[
        ("ULTIMATE_MCP__AUTH__ISSUER", "1234"),
        ("ULTIMATE_MCP__HTTP__ALLOWED_HOSTS", "[\"a.example\", \"b.example\"]"),
        ("ULTIMATE_MCP__DATA_DIR", "/tmp/with,comma[x]"),
        (
            "ULTIMATE_MCP__AUTH__KEYS",
            "[{kid=\"k\", algorithm=\"HS256\", secret=\"0123456789abcdef0123456789abcdef\"}]",
        ),
    ]))
    .unwrap();
    assert_eq!(loaded.config.auth.issuer, "1234");
    assert_eq!(loaded.config.http.allowed_hosts, ["a.example", "b.example"]);
    assert_eq!(loaded.config.data_dir, PathBuf::from("/tmp/with,comma[x]"));
    assert_eq!(loaded.config.auth.keys[0].kid, "k");
}

#[test]
fn a_value_cannot_smuggle_in_another_key() {
    let found = mistakes(&env(&[("ULTIMATE_MCP__HTTP__PORT", "1\nworkers = 2")]));
    assert!(found[0].contains("http.port: expected an integer"), "{found:?}");
}

#[test]
fn all_mistakes_of_all_sources_are_reported_at_once_with_source_and_key() {
    let files = Files::new(&[
        ("one.toml", "[http]\nprot = 1\nport = \"x\"\nworkers = -1\n[qzx]\na = 1"),
        (
            "two.toml",
            "[http]\nport = 70000\ndrain_seconds = 4000\n[supervision.default]\nstrategy = \"two_for_one\"",
        ),
        ("broken.toml", "[http\nport = 1"),
    ]);
    let mut inputs = files.inputs();
    inputs.files.push(PathBuf::from("/nonexistent/none.toml"));
    inputs.env = env(&[
        ("ULTIMATE_MCP__HTTP__PORT", "many"),
        ("ULTIMATE_MCP__HTTP____PORT", "1"),
        ("ULTIMATE_MCP__HTPP__PORT", "1"),
    ])
    .env;
    let found = mistakes(&inputs);
    let expected = [
        "ULTIMATE_MCP__HTPP__PORT: htpp: unknown key; did you mean `http`?",
        "ULTIMATE_MCP__HTTP__PORT: http.port: expected an integer from 0 to 65535, found \"many\"",
        "ULTIMATE_MCP__HTTP____PORT: write the name as ULTIMATE_MCP__SECTION__KEY",
        "broken.toml: line 1 is not valid TOML: ",
        "none.toml: cannot be read: ",
        "one.toml: http.port: expected an integer from 0 to 65535, found \"x\"",
        "one.toml: http.prot: unknown key; did you mean `port`?",
        "one.toml: http.workers: expected an integer from 0 to 1024, found -1",
        "one.toml: qzx: unknown key; known here: ",
        "two.toml: http.drain_seconds: must be from 0 to 3600, found 4000",
        "two.toml: http.port: expected an integer from 0 to 65535, found 70000",
        "two.toml: supervision.default.strategy: `two_for_one` is not known; one of one_for_one, ",
    ];
    for line in expected {
        assert!(found.iter().any(|f| f.starts_with(line)), "missing: {line}\n{found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn mistakes_in_lists_name_the_element_as_it_stands_in_the_file() {
    let files = Files::new(&[(
        "keys.toml",
        "[auth]\nkeys = [\n{ kid = \"a\", algorithm = \"none\", secret_file = \"x\" },\n\
         { kid = \"b\", algorithm = \"HS256\", secret_file = \"x\" },\n\
         { kid = \"c\", algorithm = \"HS256\", secert = \"hunter2hunter2\" },\n\
         { algorithm = \"HS256\" },\n{ kid = \"e\", algorithm = \"HS256\", secret = 77777777 }]",
    )]);
    let found = mistakes(&files.inputs()).join("\n");
    for line in [
        "auth.keys[0].algorithm: `none` is not known; one of HS256",
        "auth.keys[2].secert: unknown key; did you mean `secret`?",
        "auth.keys[3]: `kid` is missing",
        "auth.keys[4].secret: expected text",
    ] {
        assert!(found.contains(line), "missing: {line}\n{found}");
    }
    assert!(
        !found.contains("7777777") && !found.contains("hunter2"),
        "a secret was shown: {found}"
    );
}

#[test]
fn anything_but_loopback_demands_a_configured_key_and_says_how() {
    for address in ["0.0.0.0", "192.0.2.1", "::"] {
        let found = mistakes(&env(&[("ULTIMATE_MCP__HTTP__BIND", address)])).join("\n");
        assert!(found.contains("`auth.keys` must name a key"), "{found}");
        assert!(found.contains("openssl rand -base64 48"), "{found}");
        let nameless = address != "192.0.2.1";
        assert_eq!(found.contains("`http.allowed_hosts` must list"), nameless, "{found}");
    }
    for address in ["127.0.0.1", "127.8.8.8", "::1"] {
        load(&env(&[("ULTIMATE_MCP__HTTP__BIND", address)])).unwrap();
    }
}

#[test]
fn keys_without_fitting_material_are_refused() {
    let key = |rest: &str| {
        let text = format!("[{{kid=\"k\", {rest}}}]");
        load(&env(&[("ULTIMATE_MCP__AUTH__KEYS", &text)])).map(|_| ()).map_err(|e| e.to_string())
    };
    key("algorithm=\"HS256\", secret_file=\"x\"").unwrap();
    key("algorithm=\"ES256\", public_key_file=\"x\"").unwrap();
    for bad in [
        "algorithm=\"HS256\"",
        "algorithm=\"HS256\", public_key_file=\"x\"",
        "algorithm=\"HS256\", secret=\"a\", secret_file=\"x\"",
        "algorithm=\"RS256\", secret=\"a\"",
        "algorithm=\"RS256\", secret=\"a\", public_key_file=\"x\"",
    ] {
        let error = key(bad).expect_err(bad);
        assert!(error.contains("auth.keys[0].algorithm"), "{bad}: {error}");
    }
}

#[test]
fn the_defaults_of_base_toml_are_those_of_the_parts_they_set() {
    let config = load(&Inputs::default()).unwrap().config;
    assert_eq!(config.http, HttpOptions::default());
    assert_eq!(config.mcp, McpOptions::default());
    assert_eq!(config.audit, AuditOptions::default());
    assert_eq!(config.authorization, AuthorizationOptions::default());
    assert_eq!(config.sessions, SessionsOptions::default());
    assert_eq!(config.node, NodeOptions::default());
    assert_eq!(config.cache, CacheOptions::default());
    assert_eq!(config.idempotency, IdempotencyOptions::default());
    assert_eq!(config.neo4j, Neo4jOptions::default());
    assert_eq!(config.redis, RedisOptions::default());
    assert_eq!(config.jobs, JobsOptions::default());
    assert_eq!(config.graph, GraphOptions::default());
    assert_eq!(config.cell, ExecutionOptions::default());
    let (artifacts, default) = (config.tools.artifacts, ArtifactOptions::default());
    assert_eq!(format!("{artifacts:?}"), format!("{default:?}"));
    assert_eq!(config.telemetry, TelemetryOptions::default());
    assert_eq!(config.supervision, SupervisionOptions::default());
}

#[test]
fn nodes_with_the_same_settings_have_the_same_version_wherever_they_run() {
    let version = |pairs: &[(&str, &str)]| load(&env(pairs)).unwrap().version().unwrap();
    let one = version(&[("ULTIMATE_MCP__HTTP__PORT", "1"), ("ULTIMATE_MCP__NODE__ID", "a")]);
    let two = version(&[("ULTIMATE_MCP__HTTP__PORT", "2"), ("ULTIMATE_MCP__NODE__ID", "b")]);
    assert_eq!(one, two);
    assert_ne!(one, version(&[("ULTIMATE_MCP__SESSIONS__IDLE_SECONDS", "60")]));
    let policy = DEFAULT_POLICY.replace("calls_per_minute", "calls_per_minute ");
    let files = Files::new(&[("policy.toml", &policy)]);
    let path = files.1[0].display().to_string();
    assert_ne!(one, version(&[("ULTIMATE_MCP__POLICY_FILE", &path)]));
}

#[test]
fn single_supervisors_can_be_set_by_name_and_are_checked_too() {
    let files = Files::new(&[("s.toml", "[supervision.overrides.graph]\nmax_restarts = 3")]);
    let loaded = load(&files.inputs()).unwrap();
    let dump = loaded.dump();
    assert!(dump.contains("[supervision.overrides.graph]\nmax_restarts = 3  # /"), "{dump}");
    let config = loaded.config;
    assert_eq!(config.supervision.policy("graph").max_restarts, 3);
    assert_eq!(config.supervision.policy("audit").max_restarts, 10);
    let files = Files::new(&[(
        "s.toml",
        "[supervision.overrides.graph]\nmax_restarts = 99999\nwindow = 3\n",
    )]);
    let found = mistakes(&files.inputs()).join("\n");
    assert!(found.contains("s.toml: supervision.overrides.graph.max_restarts: "), "{found}");
    assert!(found.contains("supervision.overrides.graph.window: unknown key; did you"), "{found}");
}

#[test]
fn rules_between_keys_name_the_source_of_the_value() {
    let found = mistakes(&env(&[
        ("ULTIMATE_MCP__TELEMETRY__LOG_FILTER", "a=b=c"),
        ("ULTIMATE_MCP__AUTH__TOKEN_TTL_SECONDS_MAX", "600"),
        ("ULTIMATE_MCP__AUTH__TOKEN_TTL_SECONDS", "900"),
        ("ULTIMATE_MCP__AUTH__SIGNING_KID", "nobody"),
        ("ULTIMATE_MCP__HTTP__PUBLIC_URL", "ftp://x"),
        ("ULTIMATE_MCP__HTTP__ALLOWED_HOSTS", "[\"a b\"]"),
    ]));
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(found.iter().all(|line| line.starts_with("ULTIMATE_MCP__")), "{found:#?}");
    let found = mistakes(&env(&[
        ("ULTIMATE_MCP__NODE__SECRET_FILE", "/run/secrets/cluster.key"),
        ("ULTIMATE_MCP__NODE__ADVERTISE_URL", "http://node.example.org:8484"),
    ]));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("ULTIMATE_MCP__NODE__ADVERTISE_URL: "), "{found:#?}");
}

#[test]
fn the_dump_shows_every_value_with_its_source_and_no_secret() {
    let secret = "hunter2hunter2hunter2hunter2hunter2";
    let keys = format!("[{{kid=\"k\", algorithm=\"HS256\", secret=\"{secret}\"}}]");
    let loaded =
        load(&env(&[("ULTIMATE_MCP__AUTH__KEYS", &keys), ("ULTIMATE_MCP__HTTP__PORT", "1")]))
            .unwrap();
    let dump = loaded.dump();
    assert!(dump.contains("port = 1  # ULTIMATE_MCP__HTTP__PORT\n"), "{dump}");
    assert!(dump.contains("data_dir = \"./data\"  # default\n"), "{dump}");
    assert!(dump.contains("secret = \"[redacted]\""), "{dump}");
    assert!(!dump.contains("hunter2"), "{dump}");
    assert!(!format!("{loaded:?}").contains("hunter2"));
    // The dump is itself a configuration file with the same values.
    let files = Files::new(&[("dump.toml", &dump.replace("[redacted]", secret))]);
    assert_eq!(load(&files.inputs()).unwrap().config.http.port, 1);
}

proptest::proptest! {
    // A case is a whole start; the parsers behind it have property tests of their own.
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    #[test]
    fn no_value_of_a_variable_makes_the_loader_panic(text in "[\\[\\]{}\"'\\\\=,#\n\u{1f574}é1a ]{0,40}") {
        let _ = load(&env(&[("ULTIMATE_MCP__HTTP__PORT", &text)]));
        let _ = load(&env(&[("ULTIMATE_MCP__AUTH__KEYS", &text)]));
    }

    #[test]
    fn no_file_and_no_variable_makes_the_loader_panic(text in ".{0,200}", key in "[A-Z_]{0,20}") {
        let files = Files::new(&[("any.toml", &text)]);
        let _ = load(&files.inputs());
        let _ = load(&env(&[(&format!("{ENV_PREFIX}{key}"), &text)]));
    }
}

#[test]
fn every_key_that_changes_at_run_time_is_a_key_or_a_table_of_base_toml() {
    let docs = read_docs(BASE_TOML);
    for live in LIVE {
        let known =
            docs.iter().any(|doc| doc.key == *live || doc.key.starts_with(&format!("{live}.")));
        assert!(known || BASE_TOML.contains(&format!("\n[{live}]\n")), "{live}");
    }
    assert!(
        is_live("redis.resilience.breaker.slow_ms")
            && is_live("supervision.overrides.root.strategy")
    );
    assert!(!is_live("redis.pool_max") && !is_live("supervision") && !is_live("http.port"));
}

#[test]
fn what_waits_for_a_restart_keeps_its_running_value_and_secrets_are_not_shown() {
    let before = load(&env(&[("ULTIMATE_MCP__REDIS__PASSWORD", "one-secret")])).unwrap();
    let after = load(&env(&[
        ("ULTIMATE_MCP__REDIS__PASSWORD", "two-secret"),
        ("ULTIMATE_MCP__ADMISSION__TOTAL_FACTOR", "9"),
    ]))
    .unwrap();
    let changes = before.changes_to(&after);
    let keys: Vec<_> = changes.iter().map(|change| change.key.as_str()).collect();
    assert_eq!(keys, ["admission.total_factor", "redis.password"]);
    assert!(!format!("{changes:?}").contains("-secret"));
    let kept = after.keeping(&before, &changes[1..]).unwrap();
    assert_eq!(kept.config.admission.total_factor, 9);
    assert_eq!(before.changes_to(&kept).len(), 1, "the password in force is the running one");
    assert_ne!(before.version().unwrap(), kept.version().unwrap());
}
