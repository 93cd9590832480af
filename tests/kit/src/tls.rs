//! TLS in front of a server that speaks none, with a certificate that can be replaced.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use tempfile::TempDir;

use crate::haproxy::HaProxy;
use crate::process::free_port;

/// A certificate for 127.0.0.1 that signs itself.
pub struct Certificate {
    /// The certificate, as PEM.
    pub cert: PathBuf,
    /// Certificate and key in one file, as HAProxy wants them.
    pub both: PathBuf,
}

impl Certificate {
    /// Makes one with OpenSSL; its files are called after `name`.
    pub fn make(folder: &Path, name: &str) -> Self {
        let key = folder.join(format!("{name}.key"));
        let (cert, both) = (folder.join(format!("{name}.pem")), folder.join(name));
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
            ])
            .args(["-days", "2", "-subj", "/CN=kit.test", "-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&cert)
            .output()
            .unwrap_or_else(|error| panic!("openssl: {error}; install it (`make test` does)"));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let text =
            std::fs::read_to_string(&cert).unwrap() + &std::fs::read_to_string(&key).unwrap();
        std::fs::write(&both, text).unwrap();
        Self { cert, both }
    }
}

/// HAProxy that takes TLS off before a port of this machine.
pub struct TlsFront {
    folder: TempDir,
    port: u16,
    target: u16,
    running: Mutex<Option<HaProxy>>,
}

impl TlsFront {
    /// Starts in front of `target`, with a first certificate.
    pub fn start(target: u16) -> Self {
        let front = Self {
            folder: TempDir::new().unwrap(),
            port: free_port(),
            target,
            running: Mutex::default(),
        };
        front.make("first");
        front.serve("first");
        front
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes a certificate of this name, to be served later.
    pub fn make(&self, name: &str) {
        Certificate::make(self.folder.path(), name);
    }

    /// Serves the certificate of this name from now on; connections under the one before are cut.
    pub fn serve(&self, name: &str) {
        let configuration = format!(
            "global\n  maxconn 200\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n\
             frontend tls\n  bind 127.0.0.1:{} ssl crt {}\n  default_backend server\n\
             backend server\n  server one 127.0.0.1:{}\n",
            self.port,
            self.folder.path().join(name).display(),
            self.target
        );
        let mut running = self.running.lock().unwrap();
        // Ends before the next begins: both want the port.
        drop(running.take());
        *running = Some(HaProxy::start(&configuration, self.port));
    }

    /// The certificate of this name.
    pub fn certificate(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(format!("{name}.pem"))).unwrap()
    }
}
