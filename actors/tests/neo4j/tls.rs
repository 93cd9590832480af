//! TLS: a verified certificate, any certificate, and one that is refused.

use std::path::Path;
use std::process::Command;

use ultimate_mcp_actors::neo4j::{Limits, Neo4jClient, Neo4jOptions, Params};
use ultimate_mcp_testkit::{HaProxy, free_port, neo4j_exclusive};

use super::client::{options, soon, unobserved};

/// A certificate for 127.0.0.1 that signs itself; answers the certificate and both in one file.
fn certificate(folder: &Path, name: &str) -> (std::path::PathBuf, std::path::PathBuf) {
    let (key, cert, both) =
        (folder.join(format!("{name}.key")), folder.join(format!("{name}.pem")), folder.join(name));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=neo4j.test", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = std::fs::read_to_string(&cert).unwrap() + &std::fs::read_to_string(&key).unwrap();
    std::fs::write(&both, text).unwrap();
    (cert, both)
}

#[tokio::test]
async fn certificates_are_verified_unless_any_is_asked_for() {
    let turn = neo4j_exclusive().await;
    let folder = tempfile::TempDir::new().unwrap();
    let (cert, both) = certificate(folder.path(), "server");
    let (other, _) = certificate(folder.path(), "other");
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
