//! What only the embedded store promises: one process per file, damage told, recovery.

use std::io::{BufRead, BufReader, Read, Write};

use serde_json::json;
use ultimate_mcp_actors::fault::{Classify, Kind};
use ultimate_mcp_actors::graph::model::ImportMode;
use ultimate_mcp_actors::graph::{EmbeddedGraph, GraphError, GraphOptions, GraphStore};

use super::durability::{child, is_child};
use super::fixture::{embedded, soon};

fn open(file: &std::path::Path) -> Result<EmbeddedGraph, GraphError> {
    EmbeddedGraph::open(Some(file), GraphOptions::default())
}

fn refused(file: &std::path::Path) -> GraphError {
    match open(file) {
        Ok(_) => panic!("{} was opened", file.display()),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_reopened_file_holds_the_same_graph() {
    let fixture = embedded(GraphOptions::default()).with_people().await;
    let before = fixture.digest().await;
    let (folder, file) = (fixture.folder, "graph.mars");
    drop(fixture.store);
    let store = open(&folder.path().join(file)).unwrap();
    let report = store.export(Box::new(std::io::sink())).await.unwrap();
    assert_eq!(report.sha256, before);
}

/// Not a test by itself: the child's part. It holds the file until its input closes.
#[test]
fn child_holds_the_file() {
    let Some(file) = is_child() else { return };
    let _store = open(&file).unwrap();
    writeln!(std::io::stdout(), "open").unwrap();
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn a_second_process_is_told_that_the_file_is_in_use() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("graph.mars");
    let mut child = child("embedded::child_holds_the_file", &file);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("open")));
    let error = refused(&file);
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.public().contains("another process"), "{error}");
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(open(&file).is_ok());
}

#[tokio::test]
async fn a_damaged_file_is_an_error_and_never_a_panic() {
    let fixture = embedded(GraphOptions::default()).with_people().await;
    let (folder, file) = (fixture.folder, "graph.mars");
    drop(fixture.store);
    let good = std::fs::read(folder.path().join(file)).unwrap();
    let path = folder.path().join("damaged.mars");
    let mut opened = 0;
    for (name, bytes) in [
        ("foreign", b"SQLite format 3\0 and so on, and so on, and so on".to_vec()),
        ("cut", good[..good.len() / 2].to_vec()),
        (
            "first page",
            good.iter().enumerate().map(|(i, b)| if i < 4096 { 0xff } else { *b }).collect(),
        ),
        (
            "all pages",
            good.iter().enumerate().map(|(i, b)| if i > 512 { 0xaa } else { *b }).collect(),
        ),
        (
            "middle",
            good.iter().enumerate().map(|(i, b)| if i > 8192 { b ^ 0x55 } else { *b }).collect(),
        ),
    ] {
        std::fs::write(&path, bytes).unwrap();
        match open(&path) {
            Err(error) => assert_eq!(error.kind(), Kind::Unavailable, "{name}: {error:?}"),
            Ok(store) => {
                opened += 1;
                let outcome = store.export(Box::new(std::io::sink())).await;
                assert!(outcome.is_err(), "{name}: damage went unnoticed");
            }
        }
    }
    assert!(opened < 5, "every damaged file was opened");
    let error = refused(folder.path());
    assert_eq!(error.kind(), Kind::Unavailable, "a folder: {error:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = embedded(GraphOptions::default());
    let metadata = std::fs::metadata(fixture.folder.path().join("graph.mars")).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
}

/// A source that gives `head` and then panics: a crash inside a write transaction.
struct Broken(std::io::Cursor<&'static [u8]>);

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buffer)? {
            0 => panic!("the source broke"),
            read => Ok(read),
        }
    }
}

#[tokio::test]
async fn a_crash_inside_a_write_loses_that_write_only() {
    let fixture = embedded(GraphOptions::default()).with_people().await;
    let before = fixture.digest().await;
    let head = concat!(
        r#"{"graph":"ultimate-mcp","version":1}"#,
        "\n",
        r#"{"node":{"key":"half","labels":["X"],"properties":{}}}"#,
        "\n",
    );
    for round in 1..=3 {
        let source = BufReader::new(Broken(std::io::Cursor::new(head.as_bytes())));
        let error = fixture.store.import(Box::new(source), ImportMode::Over).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Crashed);
        assert!(!error.public().contains("the source broke"), "{}", error.public());
        assert_eq!(fixture.digest().await, before);
        let node = json!({ "key": "ada", "labels": ["Person"], "properties": { "round": round } });
        let result = fixture.upsert(json!({ "nodes": [node] })).await.unwrap();
        assert_eq!(result.nodes.updated, 1);
        let node = json!({ "key": "ada", "labels": ["Person"], "properties": { "round": null } });
        fixture.upsert(json!({ "nodes": [node] })).await.unwrap();
    }
    assert_eq!(fixture.digest().await, before);
    let health = fixture.store.health().await;
    assert!(health.serving);
    assert_eq!(health.panics, 3);
}

#[tokio::test]
async fn a_crash_inside_a_read_changes_nothing() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            panic!("the sink broke")
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let fixture = embedded(GraphOptions::default()).with_people().await;
    let error = fixture.store.export(Box::new(Broken)).await.unwrap_err();
    assert!(matches!(error, GraphError::Crashed { wrote: false, .. }), "{error:?}");
    assert!(fixture.query("MATCH (n) RETURN n").await.is_ok());
    assert_eq!(fixture.store.stats(soon()).await.unwrap().nodes, 5);
}

#[tokio::test]
async fn readers_see_a_snapshot_while_a_write_is_open() {
    let fixture = embedded(GraphOptions::default());
    let writes = async {
        for i in 0..30 {
            let pair = json!({ "nodes": [
                { "key": "a", "labels": ["P"], "properties": { "v": i } },
                { "key": "b", "labels": ["P"], "properties": { "v": i } }
            ] });
            fixture.upsert(pair).await.unwrap();
        }
    };
    let reads = async {
        for _ in 0..60 {
            let rows = fixture.rows("MATCH (n:P) RETURN count(DISTINCT n.v) AS d", json!({})).await;
            assert!(rows[0]["d"].as_u64().unwrap() <= 1, "half an upsert was seen");
        }
    };
    futures_util::join!(writes, reads);
}
