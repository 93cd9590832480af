//! How a connection is made: to the one server, to the master the sentinels name, to a cluster.
//!
//! Every step is bounded by `connect_timeout_ms`. Refuses a server that is no master where a master is
//! wanted: right after a failover a sentinel may still name the old one. Files with secrets and certificates
//! are read for each connection, so that they can be replaced while the server runs.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use deadpool_redis::redis::aio::{MultiplexedConnection, PubSub};
use deadpool_redis::redis::cluster::ClusterClientBuilder;
use deadpool_redis::redis::{
    self, AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind,
    IntoConnectionInfo, RedisResult, TlsCertificates, Value, cmd,
};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout;

use super::error::RedisError;
use super::link::Link;
use super::options::{RedisMode, RedisOptions, is_tls};

/// Makes connections as the options say.
pub(super) struct Connector(RedisOptions);

impl Connector {
    /// Reads the files the options name, to find out early what can never work.
    ///
    /// # Errors
    /// A file that cannot be read, an address that is none.
    pub(super) fn new(options: &RedisOptions) -> Result<Self, RedisError> {
        Door::new(options)?;
        Ok(Self(options.clone()))
    }

    fn door(&self) -> RedisResult<Door> {
        Door::new(&self.0).map_err(|error| {
            (ErrorKind::InvalidClientConfig, "a file is missing", error.to_string()).into()
        })
    }

    /// A new connection whose commands are answered within `answer_max` or fail.
    pub(super) async fn link(&self, answer_max: Duration) -> RedisResult<Link> {
        self.door()?.link(answer_max).await
    }

    /// A connection for subscriptions. In a cluster any node will do: messages reach all of them.
    pub(super) async fn pubsub(&self, attempt: usize) -> RedisResult<PubSub> {
        self.door()?.pubsub(attempt).await
    }
}

/// Everything that is known about the servers before a connection.
struct Door {
    mode: RedisMode,
    master_name: String,
    /// Of data nodes, or of the sentinels.
    targets: Vec<ConnectionInfo>,
    username: Option<String>,
    password: Option<String>,
    certificates: Option<TlsCertificates>,
    connect_timeout: Duration,
}

impl Door {
    fn new(options: &RedisOptions) -> Result<Self, RedisError> {
        let wrong = |error: redis::RedisError| RedisError::Options(error.to_string());
        let username = (!options.username.is_empty()).then(|| options.username.clone());
        let password = match options.password.reveal() {
            Some(password) => Some(password.to_owned()),
            None => secret(&options.password_file, "password_file")?,
        };
        let (user, pass) = match options.mode {
            RedisMode::Sentinel => {
                (None, secret(&options.sentinel_password_file, "sentinel_password_file")?)
            }
            _ => (username.clone(), password.clone()),
        };
        let tls = options.urls.iter().any(|url| is_tls(url));
        if tls {
            // Another crate links a second provider, so rustls cannot choose; an earlier choice stands.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let certificates = match options.ca_file.as_os_str().is_empty() || !tls {
            true => None,
            false => Some(TlsCertificates {
                client_tls: None,
                root_cert: Some(read(&options.ca_file, "ca_file")?),
            }),
        };
        let mut targets = Vec::new();
        for url in &options.urls {
            let info = url.as_str().into_connection_info().map_err(wrong)?;
            let settings = with_credentials(&info, user.as_deref(), pass.as_deref());
            targets.push(info.set_redis_settings(settings));
        }
        Ok(Self {
            mode: options.mode,
            master_name: options.master_name.clone(),
            targets,
            username,
            password,
            certificates,
            connect_timeout: Duration::from_millis(options.connect_timeout_ms),
        })
    }

    async fn link(&self, answer_max: Duration) -> RedisResult<Link> {
        match self.mode {
            RedisMode::Single => Ok(Link::Node(self.open(&self.targets[0], answer_max).await?)),
            RedisMode::Sentinel => {
                let master = self.master().await?;
                let mut link = self.open(&master, answer_max).await?;
                let role: Value = cmd("ROLE").query_async(&mut link).await?;
                match is_master(&role) {
                    true => Ok(Link::Node(link)),
                    false => Err((ErrorKind::Io, "the sentinels name a server that is no master"))?,
                }
            }
            RedisMode::Cluster => self.cluster(answer_max).await,
        }
    }

    async fn pubsub(&self, attempt: usize) -> RedisResult<PubSub> {
        let master;
        let target = match self.mode {
            RedisMode::Single => &self.targets[0],
            RedisMode::Cluster => &self.targets[attempt % self.targets.len()],
            RedisMode::Sentinel => {
                master = self.master().await?;
                &master
            }
        };
        let client = self.client(target)?;
        timeout(self.connect_timeout, client.get_async_pubsub()).await.unwrap_or_else(late)
    }

    async fn open(
        &self,
        target: &ConnectionInfo,
        answer_max: Duration,
    ) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(answer_max));
        let client = self.client(target)?;
        let opening = client.get_multiplexed_async_connection_with_config(&config);
        timeout(self.connect_timeout, opening).await.unwrap_or_else(late)
    }

    fn client(&self, target: &ConnectionInfo) -> RedisResult<Client> {
        match &self.certificates {
            Some(certificates) => Client::build_with_tls(target.clone(), certificates.clone()),
            None => Client::open(target.clone()),
        }
    }

    /// All nodes are tried; one that does not answer costs no more than the connect timeout.
    async fn cluster(&self, answer_max: Duration) -> RedisResult<Link> {
        let mut builder = ClusterClientBuilder::new(self.targets.clone())
            .retries(0)
            .connection_timeout(self.connect_timeout)
            .response_timeout(answer_max)
            .overall_response_timeout(Some(answer_max));
        if let Some(username) = &self.username {
            builder = builder.username(username);
        }
        if let Some(password) = &self.password {
            builder = builder.password(password);
        }
        if let Some(certificates) = &self.certificates {
            builder = builder.certs(certificates.clone());
        }
        let client = builder.build()?;
        // The first nodes, whom they name, and those.
        let bound = self.connect_timeout * 3;
        let opened = timeout(bound, client.get_async_connection()).await;
        opened.unwrap_or_else(late).map(Link::Cluster)
    }

    /// The address most sentinels name, asked all at once; as soon as more than half agree, that one.
    async fn master(&self) -> RedisResult<ConnectionInfo> {
        let mut votes: HashMap<(String, u16), usize> = HashMap::new();
        let mut asked: FuturesUnordered<_> =
            self.targets.iter().map(|sentinel| self.ask_sentinel(sentinel)).collect();
        let mut failure = None;
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(address) => {
                    let count = votes.entry(address.clone()).or_default();
                    *count += 1;
                    if *count > self.targets.len() / 2 {
                        return Ok(self.node(address));
                    }
                }
                Err(error) => failure = Some(error),
            }
        }
        match votes.into_iter().max_by_key(|(_, count)| *count) {
            Some((address, _)) => Ok(self.node(address)),
            None => Err(failure.unwrap_or_else(|| {
                (ErrorKind::EmptySentinelList, "no sentinel is configured").into()
            })),
        }
    }

    async fn ask_sentinel(&self, sentinel: &ConnectionInfo) -> RedisResult<(String, u16)> {
        let mut link = self.open(sentinel, self.connect_timeout).await?;
        let mut question = cmd("SENTINEL");
        question.arg("get-master-addr-by-name").arg(&self.master_name);
        let address: Option<(String, u16)> = question.query_async(&mut link).await?;
        address.ok_or_else(|| {
            let message = "the sentinels do not know the master_name";
            (ErrorKind::MasterNameNotFoundBySentinel, message).into()
        })
    }

    /// Spoken to as the sentinels are (TLS or not), with the credentials of the data nodes.
    fn node(&self, (host, port): (String, u16)) -> ConnectionInfo {
        let like = &self.targets[0];
        let address = match like.addr() {
            ConnectionAddr::TcpTls { .. } => {
                ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        let settings = redis::RedisConnectionInfo::default();
        let info = like.clone().set_addr(address).set_redis_settings(settings);
        let settings = with_credentials(&info, self.username.as_deref(), self.password.as_deref());
        info.set_redis_settings(settings)
    }
}

fn with_credentials(
    info: &ConnectionInfo,
    username: Option<&str>,
    password: Option<&str>,
) -> redis::RedisConnectionInfo {
    let mut settings = info.redis_settings().clone().set_skip_set_lib_name();
    if let Some(username) = username {
        settings = settings.set_username(username);
    }
    if let Some(password) = password {
        settings = settings.set_password(password);
    }
    settings
}

fn is_master(role: &Value) -> bool {
    let Value::Array(fields) = role else { return false };
    match fields.first() {
        Some(Value::BulkString(role)) => role == b"master",
        Some(Value::SimpleString(role)) => role == "master",
        _ => false,
    }
}

fn late<T>(_: tokio::time::error::Elapsed) -> RedisResult<T> {
    Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into())
}

fn secret(file: &Path, key: &str) -> Result<Option<String>, RedisError> {
    if file.as_os_str().is_empty() {
        return Ok(None);
    }
    let text = String::from_utf8(read(file, key)?)
        .map_err(|_| RedisError::Options(format!("{key} is not text")))?;
    Ok(Some(text.trim_end().to_owned()))
}

fn read(file: &Path, key: &str) -> Result<Vec<u8>, RedisError> {
    std::fs::read(file).map_err(|error| RedisError::Options(format!("{key}: {error}")))
}
