//! The connection to the store: one that all questions share, so that those of a moment travel
//! together.

use std::time::Duration;
use std::{fmt, io};

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    Pipeline, ProtocolVersion, RedisConnectionInfo, RedisError, RedisFuture, RedisResult, TlsMode,
    Value,
};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::config::{SharedStore as Settings, StoreServer, StoreTopology};

/// What a question is sent on. A clone shares the connection.
#[derive(Clone)]
pub(super) enum Connection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Server(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Server(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Server(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// Makes connections.
pub(super) enum Connector {
    Server(Client, AsyncConnectionConfig),
    /// One for each Sentinel: the crate waits for the first before it asks the next.
    Sentinels(Mutex<Vec<SentinelClient>>, AsyncConnectionConfig),
    Cluster(ClusterClient),
}

/// A cluster is connected to in three turns: the nodes that are named, all at once; those that it
/// has; its slots.
const CONNECT_ROUND_TRIPS: u32 = 3;

impl Connector {
    pub(super) fn new(settings: &Settings) -> RedisResult<Self> {
        // How long an answer may take is decided question by question.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.connect_timeout))
            .set_response_timeout(None);
        let addresses = settings.servers.iter().map(|it| address(it, settings.tls));
        Ok(match &settings.topology {
            StoreTopology::Single => {
                let server = &settings.servers[0];
                let info = address(server, settings.tls).into_connection_info()?;
                let info = info.set_redis_settings(login(settings));
                Self::Server(Client::open(info)?, config)
            }
            StoreTopology::Sentinel(master) => {
                let clients = addresses.map(|address| sentinel(address, master, settings));
                Self::Sentinels(Mutex::new(clients.collect::<RedisResult<_>>()?), config)
            }
            StoreTopology::Cluster => {
                let nodes = addresses.map(IntoConnectionInfo::into_connection_info);
                let nodes: Vec<ConnectionInfo> = nodes.collect::<RedisResult<_>>()?;
                let mut builder = ClusterClient::builder(nodes)
                    .connection_timeout(settings.connect_timeout)
                    .use_protocol(ProtocolVersion::RESP3);
                if settings.tls {
                    builder = builder.tls(TlsMode::Secure);
                }
                if let Some(username) = &settings.username {
                    builder = builder.username(username);
                }
                if let Some(password) = &settings.password {
                    builder = builder.password(password.expose());
                }
                Self::Cluster(builder.build()?)
            }
        })
    }

    /// Connects, and waits for no server longer than this.
    pub(super) async fn connect(&self, patience: Duration) -> RedisResult<Connection> {
        match self {
            Self::Server(client, config) => {
                let connected = client.get_multiplexed_async_connection_with_config(config);
                within(patience, connected).await.map(Connection::Server)
            }
            Self::Sentinels(clients, config) => {
                let mut outcome = Err(no_answer());
                for client in clients.lock().await.iter_mut() {
                    let connected = client.get_async_connection_with_config(config);
                    outcome = within(patience, connected).await;
                    if outcome.is_ok() {
                        break;
                    }
                }
                outcome.map(Connection::Server)
            }
            Self::Cluster(client) => {
                let connected = client.get_async_connection();
                within(patience * CONNECT_ROUND_TRIPS, connected)
                    .await
                    .map(Connection::Cluster)
            }
        }
    }
}

async fn within<T>(
    patience: Duration,
    connected: impl Future<Output = RedisResult<T>>,
) -> RedisResult<T> {
    let connected = timeout(patience, connected).await;
    connected.unwrap_or_else(|_| Err(no_answer()))
}

fn no_answer() -> RedisError {
    io::Error::new(
        io::ErrorKind::TimedOut,
        "no connection within connect_timeout_ms",
    )
    .into()
}

fn sentinel(
    address: ConnectionAddr,
    master: &str,
    settings: &Settings,
) -> RedisResult<SentinelClient> {
    let kind = SentinelServerType::Master;
    let mut builder = SentinelClientBuilder::new([address], master, kind)?
        .set_client_to_redis_db(settings.database)
        .set_client_to_redis_protocol(ProtocolVersion::RESP3);
    if settings.tls {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_tls_mode(TlsMode::Secure);
    }
    if let Some(username) = &settings.username {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = &settings.password {
        builder = builder.set_client_to_redis_password(password.expose());
    }
    builder.build()
}

fn address(server: &StoreServer, tls: bool) -> ConnectionAddr {
    let (host, port) = (server.host.clone(), server.port);
    if tls {
        ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        }
    } else {
        ConnectionAddr::Tcp(host, port)
    }
}

fn login(settings: &Settings) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default()
        .set_db(settings.database)
        .set_protocol(ProtocolVersion::RESP3)
        .set_skip_set_lib_name();
    if let Some(username) = &settings.username {
        login = login.set_username(username);
    }
    if let Some(password) = &settings.password {
        login = login.set_password(password.expose());
    }
    login
}

/// It knows a password.
impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}
