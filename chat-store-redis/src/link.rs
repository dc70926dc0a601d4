//! Connections: to one server, for whose address Sentinel may have to be asked, or to a cluster. Commands share one (`line.rs`); news has
//! another (`subscription.rs`).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, TryFutureExt};
use redis::aio::{AsyncPushSender, ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, IntoConnectionInfo, Pipeline,
    ProtocolVersion, PushInfo, PushKind, RedisFuture, RedisResult, Role, ServerErrorKind, Value,
};
use socket2::TcpKeepalive;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::connect_error::ConnectError;
use crate::options::RedisOptions;
use crate::sentinels::{Address, Sentinels};

/// Channels in one command.
const CHANNELS_MAX: usize = 512;

pub(crate) const PAUSE_MIN: Duration = Duration::from_millis(50);
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How to connect.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    options: RedisOptions,
    way: Way,
}

#[derive(Clone, Debug)]
enum Way {
    /// Where there are sentinels they are asked for the address.
    One(Box<ConnectionInfo>, Option<Sentinels>),
    Cluster,
}

/// A connection. Does not come back once it is broken: whoever has it makes another one.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) connection: Connection,
    /// Where Sentinel has said that the primary is.
    address: Option<Address>,
    broken: Arc<Notify>,
}

#[derive(Clone)]
pub(crate) enum Connection {
    One(MultiplexedConnection),
    /// Comes back by itself node by node, and repeats what failed meanwhile.
    Cluster(ClusterConnection),
}

impl Connector {
    pub(crate) fn new(options: &RedisOptions) -> Result<Self, ConnectError> {
        let way = Way::new(options)?;
        Ok(Self { options: options.clone(), way })
    }

    /// Finds out, before anything else is tried, whether sentinels answer as they should.
    pub(crate) async fn ask_sentinels(&self) -> Result<(), ConnectError> {
        match &self.way {
            Way::One(_, Some(sentinels)) => {
                sentinels.primary(&self.config()).await.map(drop).map_err(ConnectError::Sentinel)
            }
            _ => Ok(()),
        }
    }

    /// For commands.
    pub(crate) async fn connect(&self) -> RedisResult<Link> {
        let broken = Arc::new(Notify::new());
        match &self.way {
            Way::Cluster => {
                let connection = cluster(&self.options).build()?.get_async_connection().await?;
                Ok(Link { connection: Connection::Cluster(connection), address: None, broken })
            }
            Way::One(info, sentinels) => {
                self.connect_to_one(info, sentinels.as_ref(), |_, _| {}, broken).await
            }
        }
    }

    /// What is pushed goes to `hear`, which may say that the connection is of no use any more.
    pub(crate) async fn connect_for_news(
        &self,
        hear: impl Fn(PushInfo, &Notify) + Send + Sync + 'static,
    ) -> RedisResult<Link> {
        let broken = Arc::new(Notify::new());
        match &self.way {
            Way::Cluster => {
                let client = cluster(&self.options).push_sender(pushes(hear, broken.clone())).build()?;
                let connection = Connection::Cluster(client.get_async_connection().await?);
                Ok(Link { connection, address: None, broken })
            }
            Way::One(info, sentinels) => self.connect_to_one(info, sentinels.as_ref(), hear, broken).await,
        }
    }

    async fn connect_to_one(
        &self,
        info: &ConnectionInfo,
        sentinels: Option<&Sentinels>,
        hear: impl Fn(PushInfo, &Notify) + Send + Sync + 'static,
        broken: Arc<Notify>,
    ) -> RedisResult<Link> {
        let (mut info, mut address) = (info.clone(), None);
        if let Some(sentinels) = sentinels {
            let told = sentinels.primary(&self.config()).await?;
            let within = told.within(info.addr());
            (info, address) = (info.set_addr(within), Some(told));
        }
        let config = self.config().set_push_sender(pushes(hear, broken.clone()));
        let connection = Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await?;
        let mut link = Link { connection: Connection::One(connection), address, broken };
        if sentinels.is_some() {
            link.verify().await?;
        }
        Ok(link)
    }

    /// Waits until `link` is of no use any more.
    pub(crate) async fn until_broken(&self, link: &mut Link) {
        let broken = link.broken.clone();
        let no_heartbeat = async {
            loop {
                sleep(self.options.heartbeat_interval).await;
                if self.check(link).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = broken.notified() => {}
            () = no_heartbeat => {}
        }
    }

    async fn check(&self, link: &mut Link) -> RedisResult<()> {
        let Way::One(_, Some(sentinels)) = &self.way else { return link.ping().await };
        // One that was cut off from the others goes on as if it were the primary still. Who cannot be asked says nothing against it.
        let told = sentinels.primary(&self.config()).await.ok();
        if told.is_some() && told != link.address {
            return Err((ErrorKind::Client, "another server is the primary now").into());
        }
        link.verify().await
    }

    /// The command that publishes. In a cluster only the nodes of the room's shard hear it.
    pub(crate) fn publish(&self) -> &'static str {
        match &self.way {
            Way::One(..) => "PUBLISH",
            Way::Cluster => "SPUBLISH",
        }
    }

    fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_response_timeout(Some(self.options.response_timeout))
            .set_connection_timeout(Some(self.options.connection_timeout))
    }
}

impl Way {
    fn new(options: &RedisOptions) -> Result<Self, ConnectError> {
        if options.cluster {
            if !options.sentinels.is_empty() {
                return Err(ConnectError::Options("a cluster has no use for Sentinel"));
            }
            if options.urls.is_empty() {
                return Err(ConnectError::Options("a cluster needs at least one address"));
            }
            drop(cluster(options).build().map_err(ConnectError::from_redis)?);
            return Ok(Self::Cluster);
        }
        let [url] = &options.urls[..] else {
            return Err(ConnectError::Options("several addresses are those of a cluster: say so"));
        };
        let info = url.as_str().into_connection_info().map_err(ConnectError::Address)?;
        let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = Box::new(info.set_redis_settings(redis).set_tcp_settings(tcp_settings(options)));
        drop(Client::open((*info).clone()).map_err(ConnectError::Address)?);
        let sentinels = match &options.sentinels[..] {
            [] => None,
            urls => Some(Sentinels::new(info.addr(), urls)?),
        };
        Ok(Self::One(info, sentinels))
    }
}

/// Does it again until it succeeds, after growing pauses.
pub(crate) async fn until_done<T, A: Future<Output = RedisResult<T>>>(
    what: &str,
    attempt: impl Fn() -> A,
) -> T {
    let mut pause = PAUSE_MIN;
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "{what}; trying again");
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
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

impl Link {
    pub(crate) async fn subscribe(&mut self, channels: &[String]) -> RedisResult<()> {
        match &mut self.connection {
            Connection::One(connection) => connection.subscribe(channels).await,
            Connection::Cluster(connection) => connection.ssubscribe(channels).await,
        }
    }

    /// So many channels may be in one subscription: in a cluster they must be in one slot.
    pub(crate) fn channels_max(&self) -> usize {
        match &self.connection {
            Connection::One(_) => CHANNELS_MAX,
            Connection::Cluster(_) => 1,
        }
    }

    pub(crate) async fn unsubscribe(&mut self, channel: &str) -> RedisResult<()> {
        match &mut self.connection {
            Connection::One(connection) => connection.unsubscribe(channel).await,
            Connection::Cluster(connection) => connection.sunsubscribe(channel).await,
        }
    }

    /// Whether every server answers to which there is a connection: in a cluster a replica brings the news of a primary that is away.
    async fn ping(&mut self) -> RedisResult<()> {
        let ping = redis::cmd("PING");
        match &mut self.connection {
            Connection::One(connection) => ping.query_async(connection).await,
            Connection::Cluster(connection) => {
                let everybody = (MultipleNodeRoutingInfo::AllNodes, Some(ResponsePolicy::AllSucceeded));
                connection.route_command(ping, RoutingInfo::MultiNode(everybody)).await.map(drop)
            }
        }
    }

    /// Whether the server is a primary.
    async fn verify(&mut self) -> RedisResult<()> {
        match redis::cmd("ROLE").query_async(self).await? {
            Role::Primary { .. } => Ok(()),
            _ => Err((ErrorKind::Client, "the server is no primary, or not yet").into()),
        }
    }
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        let broken = self.broken.clone();
        match &mut self.connection {
            Connection::One(connection) => {
                let answer = connection.req_packed_command(command);
                answer.inspect_ok(move |value| heed(value, &broken)).boxed()
            }
            Connection::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let broken = self.broken.clone();
        match &mut self.connection {
            Connection::One(connection) => {
                let answers = connection.req_packed_commands(commands, offset, count);
                answers.inspect_ok(move |values| values.iter().for_each(|value| heed(value, &broken))).boxed()
            }
            Connection::Cluster(connection) => connection.req_packed_commands(commands, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match &self.connection {
            Connection::One(connection) => connection.get_db(),
            Connection::Cluster(connection) => connection.get_db(),
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &self.connection {
            Connection::One(_) => "Link(one server)",
            Connection::Cluster(_) => "Link(cluster)",
        })
    }
}

/// A server that takes no writes is a primary no more, and another one is. A cluster's client finds that out by itself.
fn heed(answer: &Value, broken: &Notify) {
    if let Value::ServerError(error) = answer
        && error.kind() == Some(ServerErrorKind::ReadOnly)
    {
        broken.notify_one();
    }
}

fn pushes(
    hear: impl Fn(PushInfo, &Notify) + Send + Sync + 'static,
    broken: Arc<Notify>,
) -> impl AsyncPushSender {
    move |push: PushInfo| {
        if push.kind == PushKind::Disconnection {
            broken.notify_one();
        }
        hear(push, &broken);
        Ok::<(), Infallible>(())
    }
}
