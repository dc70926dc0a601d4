//! Connections: to one server, or to a cluster. Commands share one; news has another.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{
    AsyncPushSender, ConnectionLike, ConnectionManager, ConnectionManagerConfig, MultiplexedConnection,
};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, IntoConnectionInfo, Pipeline, ProtocolVersion, RedisFuture,
    RedisResult, Value,
};
use socket2::TcpKeepalive;

use crate::connect_error::ConnectError;
use crate::options::RedisOptions;

/// How to connect.
#[derive(Clone, Debug)]
pub(crate) enum Connector {
    One(Box<Client>, RedisOptions),
    Cluster(RedisOptions),
}

/// For commands. Comes back by itself; what fails meanwhile is not repeated, except by the cluster's client, and all commands may be.
#[derive(Clone)]
pub(crate) enum Link {
    One(ConnectionManager),
    Cluster(ClusterConnection),
}

/// For news. Does not come back: whoever has it makes another one.
#[derive(Clone)]
pub(crate) enum NewsLink {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connector {
    pub(crate) fn new(options: &RedisOptions) -> Result<Self, ConnectError> {
        let tcp = tcp_settings(options);
        if options.cluster {
            if options.urls.is_empty() {
                return Err(ConnectError::Options("a cluster needs at least one address"));
            }
            let client = cluster(options).build().map_err(ConnectError::from_redis)?;
            drop(client);
            return Ok(Self::Cluster(options.clone()));
        }
        let [url] = &options.urls[..] else {
            return Err(ConnectError::Options("several addresses are those of a cluster: say so"));
        };
        let info = url.as_str().into_connection_info().map_err(ConnectError::Address)?;
        let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = info.set_redis_settings(redis).set_tcp_settings(tcp);
        let client = Client::open(info).map_err(ConnectError::Address)?;
        Ok(Self::One(Box::new(client), options.clone()))
    }

    pub(crate) async fn connect(&self) -> RedisResult<Link> {
        match self {
            Self::One(client, options) => {
                // The manager tries for long before it says what is wrong.
                let once =
                    AsyncConnectionConfig::new().set_connection_timeout(Some(options.connection_timeout));
                drop(client.get_multiplexed_async_connection_with_config(&once).await?);
                let config = ConnectionManagerConfig::new()
                    .set_min_delay(Duration::from_millis(50))
                    .set_max_delay(Duration::from_secs(2))
                    .set_response_timeout(Some(options.response_timeout))
                    .set_connection_timeout(Some(options.connection_timeout));
                Ok(Link::One(ConnectionManager::new_with_config((**client).clone(), config).await?))
            }
            Self::Cluster(options) => {
                let client: ClusterClient = cluster(options).build()?;
                Ok(Link::Cluster(client.get_async_connection().await?))
            }
        }
    }

    /// A connection whose pushes go to `pushes`.
    pub(crate) async fn connect_for_news(&self, pushes: impl AsyncPushSender) -> RedisResult<NewsLink> {
        match self {
            Self::One(client, options) => {
                let config = AsyncConnectionConfig::new()
                    .set_response_timeout(Some(options.response_timeout))
                    .set_connection_timeout(Some(options.connection_timeout))
                    .set_push_sender(pushes);
                Ok(NewsLink::One(client.get_multiplexed_async_connection_with_config(&config).await?))
            }
            Self::Cluster(options) => {
                let client = cluster(options).push_sender(pushes).build()?;
                Ok(NewsLink::Cluster(client.get_async_connection().await?))
            }
        }
    }

    /// The command that publishes. In a cluster only the nodes of the room's shard hear it.
    pub(crate) fn publish(&self) -> &'static str {
        match self {
            Self::One(..) => "PUBLISH",
            Self::Cluster(_) => "SPUBLISH",
        }
    }
}

fn cluster(options: &RedisOptions) -> ClusterClientBuilder {
    ClusterClientBuilder::new(options.urls.iter().map(String::as_str))
        .use_protocol(ProtocolVersion::RESP3)
        .tcp_settings(tcp_settings(options))
        .connection_timeout(options.connection_timeout)
        .response_timeout(options.response_timeout)
        .retries(4)
        .min_retry_wait(50)
        .max_retry_wait(1_000)
}

/// A connection that is dead without anybody having said so is found out by the kernel.
fn tcp_settings(options: &RedisOptions) -> TcpSettings {
    // The kernel counts in seconds.
    let every = options.heartbeat_interval.max(Duration::from_secs(1));
    let keepalive = TcpKeepalive::new().with_time(every).with_interval(every).with_retries(2);
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(options.response_timeout * 2);
    settings
}

impl NewsLink {
    pub(crate) async fn subscribe(&mut self, channels: &[String]) -> RedisResult<()> {
        match self {
            Self::One(connection) => connection.subscribe(channels).await,
            Self::Cluster(connection) => {
                // Channels of one command must be in one slot.
                for channel in channels {
                    connection.ssubscribe(channel).await?;
                }
                Ok(())
            }
        }
    }

    pub(crate) async fn unsubscribe(&mut self, channel: &str) -> RedisResult<()> {
        match self {
            Self::One(connection) => connection.unsubscribe(channel).await,
            Self::Cluster(connection) => connection.sunsubscribe(channel).await,
        }
    }

    pub(crate) async fn ping(&mut self) -> RedisResult<()> {
        match self {
            Self::One(connection) => redis::cmd("PING").query_async(connection).await,
            Self::Cluster(connection) => redis::cmd("PING").query_async(connection).await,
        }
    }
}

impl Link {
    /// Whether every primary answers.
    pub(crate) async fn ping(&mut self) -> RedisResult<()> {
        match self {
            Self::One(connection) => redis::cmd("PING").query_async(connection).await,
            Self::Cluster(connection) => {
                let everywhere = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                connection.route_command(redis::cmd("PING"), everywhere).await.map(drop)
            }
        }
    }
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(commands, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(commands, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::One(_) => "Link(one server)",
            Self::Cluster(_) => "Link(cluster)",
        })
    }
}

/// Shared by the connections that it is handed to.
pub(crate) struct Pushes<F>(pub(crate) Arc<F>);

impl<F: Fn(redis::PushInfo) + Send + Sync + 'static> AsyncPushSender for Pushes<F> {
    fn send(&self, push: redis::PushInfo) -> Result<(), redis::aio::SendError> {
        (self.0)(push);
        Ok(())
    }
}
