//! TLS: a verified certificate, any certificate, and one that is refused.

use std::path::Path;

use ultimate_mcp_actors::neo4j::{Limits, Neo4jClient, Neo4jOptions, Params};
use ultimate_mcp_testkit::{Certificate, TlsFront, neo4j_exclusive};

use super::client::{options, soon, unobserved};

#[tokio::test]
async fn certificates_are_verified_unless_any_is_asked_for() {
    let turn = neo4j_exclusive().await;
    let folder = tempfile::TempDir::new().unwrap();
    let front = TlsFront::start(turn.server.port);
    let (cert, port) = (folder.path().join("server.pem"), front.port());
    std::fs::write(&cert, front.certificate("first")).unwrap();
    let other = Certificate::make(folder.path(), "other").cert;
    let reaches = async |scheme: &str, ca_file: Option<&Path>| {
        let options = Neo4jOptions {
            uri: format!("{scheme}://127.0.0.1:{port}"),
            ca_file: ca_file.map(Path::to_owned),
            connect_timeout_ms: 5_000,
            ..options(&turn.server)
        };
        let client = Neo4jClient::new(options, unobserved()).unwrap();
        let read = client.read("RETURN 1 AS x", Params::new(), Limits::default(), soon()).await;
        read.map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(reaches("bolt+s", Some(&cert)).await, Ok(()));
    assert_eq!(reaches("bolt+ssc", None).await, Ok(()));
    for refused in [reaches("bolt+s", Some(&other)).await, reaches("bolt+s", None).await] {
        assert!(refused.clone().unwrap_err().contains("TLS"), "{refused:?}");
    }
    assert!(reaches("bolt", None).await.is_err(), "no plain text where TLS is spoken");
}
