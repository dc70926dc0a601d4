//! The server as a whole: opens the store, wires engine, transport and page together, and takes them down in the right order.
//!
//! The parts are elsewhere: what a client may say in `chat-transport-socketio`, what happens to a message in `chat-core`.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use chat_core::{Chat, Limits, StoreError};
use chat_transport_socketio::chat::{self, ChatSettings};
use chat_transport_socketio::engine::{Origins, Settings};
use chat_transport_socketio::{Recovery, Server, SocketIo};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::backend::{self, OpenError, Opened};
use crate::config::{self, Config, RedisUrl, StoreUrl};
use crate::rules::InForce;
use crate::tokens::Tokens;
use crate::writes::Writes;
use crate::{assets, health};

/// What a connection may take to hand out its last answers. A long-polling client that is between two requests cannot be told: this is then
/// how long the stop waits for it.
const CLOSE_CONNECTION_WITHIN: Duration = Duration::from_secs(2);
/// All connections together, a little more than one.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);
/// HTTP requests in progress; what is left of the whole is the store's, whose last commit may wait for a disk.
const REQUESTS_WITHIN: Duration = Duration::from_secs(4);
/// All of it, from the signal on. Less than the patience of supervisors (commonly 10 s or more), who kill what takes longer.
const STOP_WITHIN: Duration = Duration::from_secs(8);
/// Requests at once, as a multiple of those in a second.
const BURST: NonZeroU32 = NonZeroU32::new(4).expect("not zero");

/// Why the server did not start, or could not go on. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("the runtime cannot be started")]
    Runtime(#[source] io::Error),
    #[error("signals cannot be listened for")]
    Signals(#[source] io::Error),
    #[error("{0} is already in use: stop what listens there, or choose another port with --listen")]
    InUse(SocketAddr),
    #[error("listening on {0} is not allowed: choose a port above 1023 with --listen")]
    NotAllowed(SocketAddr),
    #[error("{0} is not an address of this machine: choose another one with --listen")]
    NotHere(SocketAddr),
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] io::Error),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
}

/// Takes the address that clients will connect to.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => StartError::InUse(address),
        io::ErrorKind::PermissionDenied => StartError::NotAllowed(address),
        io::ErrorKind::AddrNotAvailable => StartError::NotHere(address),
        _ => StartError::Listen(address, error),
    })
}

/// Serves until `stop` completes, then lets go of clients, finishes posts and closes the store, within [`STOP_WITHIN`].
pub(crate) async fn run(
    listener: TcpListener,
    config: Config,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), StartError> {
    let Opened { backends, close } = backend::open(&config.store, &config.keep).await?;
    let (backends, writes) = Writes::watch(backends);
    let mut chat = Chat::builder(backends).limits(limits(&config));
    if let Some((path, rules)) = &config.rules {
        let rules = InForce::new(rules.clone());
        chat = chat.authority(rules.clone());
        reload_on_hangup(path.clone(), rules)?;
    }
    let chat = chat.start().await?;
    let address = listener.local_addr().unwrap_or(config.listen);
    let io = transport(&config, address, &chat, chat::recovery(&chat).await?);
    let app = Router::new()
        .nest_service("/socket.io", io.router())
        .merge(assets::router())
        .merge(health::router(chat.clone(), writes));
    announce(address, &config);

    // Both must hear it: the accept loop, and the connections that have left it by becoming WebSockets.
    let (stopping, stopped) = watch::channel(false);
    tokio::spawn(async move {
        stop.await;
        stopping.send_replace(true);
    });
    let http = Server::new().patience(REQUESTS_WITHIN);
    let accepting = http.run(listener, app, asked(stopped.clone()));
    let leaving = async {
        asked(stopped.clone()).await;
        if !io.shutdown(LEAVE_WITHIN).await {
            tracing::warn!("some clients did not leave in time; they are cut off");
        }
    };
    let serving = async {
        tokio::join!(accepting, leaving);
        chat.shutdown().await;
        close.await;
    };
    let overdue = async {
        asked(stopped.clone()).await;
        tokio::time::sleep(STOP_WITHIN).await;
    };
    tokio::select! {
        () = serving => tracing::info!("stopped"),
        // Nothing acknowledged is in danger: what is not stored yet has not been answered.
        () = overdue => tracing::warn!("stopped before the store had finished; posts under way were not acknowledged"),
    }
    Ok(())
}

/// The rules are read again on SIGHUP.
#[cfg(unix)]
fn reload_on_hangup(path: std::path::PathBuf, rules: InForce) -> Result<(), StartError> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut hangups = signal(SignalKind::hangup()).map_err(StartError::Signals)?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            match rules.reload(&path) {
                Ok(()) => tracing::info!(path = %path.display(), "the rules were read again"),
                Err(error) => {
                    tracing::error!(path = %path.display(), error, "the rules cannot be used; those before stay");
                }
            }
        }
    });
    Ok(())
}

#[cfg(not(unix))]
fn reload_on_hangup(_: std::path::PathBuf, _: InForce) -> Result<(), StartError> {
    Ok(())
}

async fn asked(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is as good a reason to stop.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

fn limits(config: &Config) -> Limits {
    let mut limits = Limits::default();
    limits.first_visit_entries_max = config.first_visit_max.map(|entries| u64::from(entries.get()));
    limits.rooms_per_reader_max = config.rooms_max;
    limits.rooms_per_user_max = config.user_rooms_max;
    limits.body_bytes_max = limits.body_bytes_max.max(config.packet.content_bytes);
    limits
}

fn transport(config: &Config, address: SocketAddr, engine: &Chat, recovery: Recovery) -> SocketIo {
    let origins = origins(config, address);
    let mut events = ChatSettings::default();
    events.requests_per_second = config.requests_per_second;
    if let Some(pace) = config.requests_per_second {
        events.requests_burst = pace.saturating_mul(BURST);
    }
    events.user_requests_per_second = config.user_requests_per_second;
    if let Some(pace) = config.user_requests_per_second {
        events.user_requests_burst = pace.saturating_mul(BURST);
    }
    events.joins_per_second = config.joins_per_second;
    if let Some(rooms) = u32::try_from(config.rooms_max).ok().and_then(NonZeroU32::new) {
        events.joins_burst = rooms;
    }
    events.notices_per_second = config.notices_per_second;
    if let Some(pace) = config.notices_per_second {
        events.notices_burst = pace.saturating_mul(BURST);
    }
    events.connections_per_user = config.user_connections;
    events.content_bytes_max = config.packet.content_bytes;
    events.guests = config.accounts.guests;
    events.token_notice = config.accounts.notice;
    if let Some(wanted) = &config.accounts.tokens {
        events.accounts = Some(Arc::new(Tokens::new(wanted)));
    }
    let namespace = chat::namespace(engine.clone(), events);
    let settings = Settings::default()
        .origins(origins)
        .close_timeout(CLOSE_CONNECTION_WITHIN)
        .max_payload(config.packet.bytes)
        .ping_interval(config.heartbeat.interval)
        .ping_timeout(config.heartbeat.timeout);
    SocketIo::builder()
        .settings(settings)
        .recovery(recovery)
        .packet_bytes_max(config.packet.bytes)
        .attachments_max(config.packet.attachments)
        .namespace("/", namespace)
        .build()
}

/// Which pages may connect. What a request calls the server is only believed where that cannot be anybody's name for this machine, or
/// where nothing better is known.
fn origins(config: &Config, address: SocketAddr) -> Origins {
    let config::Origins::Listed(listed) = &config.origins else { return Origins::Any };
    let known = listed.iter().chain(&config.public_url).cloned().collect();
    if address.ip().to_canonical().is_loopback() {
        Origins::LoopbackAnd(known)
    } else if config.public_url.is_some() {
        Origins::Listed(known)
    } else {
        Origins::SameAnd(known)
    }
}

/// Says where the chat is to be found: to people on standard output, to machines in the log.
fn announce(address: SocketAddr, config: &Config) {
    let url = config.public_url.clone().unwrap_or_else(|| {
        // A browser on this machine finds it under this name, whichever of its addresses the server listens on.
        let local = address.ip().is_loopback() || address.ip().is_unspecified();
        if local { format!("http://localhost:{}", address.port()) } else { format!("http://{address}") }
    });
    let kept = match &config.store {
        StoreUrl::Memory => "in memory only: they are gone when it stops".to_owned(),
        StoreUrl::Sqlite(path) => format!("in {}", path.display()),
        // Its address may contain a password.
        StoreUrl::Redis(RedisUrl::Cluster(_)) => "in a Redis Cluster".to_owned(),
        StoreUrl::Redis(_) => "in Redis".to_owned(),
    };
    // Nobody may be listening on standard output; that is no reason not to serve.
    let _ = writeln!(io::stdout(), "The chat is at {url} and keeps its messages {kept}.");
    tracing::info!(%address, %url, "serving");
    if !assets::has_page() {
        tracing::warn!("built without the page and the official Socket.IO client; other clients can connect");
    }
}
