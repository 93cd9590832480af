//! TLS: a verified certificate, any certificate, and one that is refused.

use std::path::Path;

use ultimate_mcp_actors::neo4j::{Limits, Neo4jClient, Neo4jOptions, Params};
use ultimate_mcp_testkit::{Certificate, HaProxy, free_port, neo4j_exclusive};

use super::client::{options, soon, unobserved};

#[tokio::test]
async fn certificates_are_verified_unless_any_is_asked_for() {
    let turn = neo4j_exclusive().await;
    let folder = tempfile::TempDir::new().unwrap();
    let Certificate { cert, both } = Certificate::make(folder.path(), "server");
    let other = Certificate::make(folder.path(), "other").cert;
    let port = free_port();
    let configuration = format!(
        "global\n  maxconn 100\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n\
         frontend tls\n  bind 127.0.0.1:{port} ssl crt {}\n  default_backend neo4j\n\
         backend neo4j\n  server one 127.0.0.1:{}\n",
        both.display(),
        turn.server.port
    );
    let _front = HaProxy::start(&configuration, port);
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
