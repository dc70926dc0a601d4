//! A chat over the in-memory store, served on a port of its own.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::Router;
use chat_core::{
    Author, Backends, Body, Bookmark, Chat, ChatBuilder, DisplayName, Draft, Kind, Limits, MemoryStore,
    MessageKey, RoomId, UserId,
};
use chat_transport_socketio::chat::{self, ChatSettings};
use chat_transport_socketio::engine::Settings;
use chat_transport_socketio::{SocketIo, SocketIoBuilder};
use tokio::net::TcpListener;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) chat: Chat,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::over(Backends::from_store(MemoryStore::new())).await
    }

    pub(crate) async fn over(backends: Backends) -> Self {
        Self::with(Chat::builder(backends), unlimited()).await
    }

    pub(crate) async fn limited(limits: Limits) -> Self {
        let backends = Backends::from_store(MemoryStore::new());
        Self::with(Chat::builder(backends).limits(limits), unlimited()).await
    }

    pub(crate) async fn with(chat: ChatBuilder, settings: ChatSettings) -> Self {
        Self::with_connect_timeout(chat, settings, Duration::from_secs(45)).await
    }

    /// Its clients can come back as who they were.
    pub(crate) async fn recovering() -> Self {
        Self::recovering_with(unlimited()).await
    }

    pub(crate) async fn recovering_with(settings: ChatSettings) -> Self {
        let chat = Chat::builder(Backends::from_store(MemoryStore::new())).start().await.unwrap();
        let recovery = chat::recovery(&chat).await.unwrap();
        Self::serve(chat, settings, SocketIo::builder().recovery(recovery)).await
    }

    pub(crate) async fn with_connect_timeout(
        chat: ChatBuilder,
        settings: ChatSettings,
        connect_timeout: Duration,
    ) -> Self {
        let chat = chat.start().await.unwrap();
        Self::serve(chat, settings, SocketIo::builder().connect_timeout(connect_timeout)).await
    }

    async fn serve(chat: Chat, settings: ChatSettings, io: SocketIoBuilder) -> Self {
        let namespace = chat::namespace(chat.clone(), settings);
        // These clients do not pong while they do not read, and the machine may be busy.
        let heartbeat = Settings::default().ping_interval(Duration::from_secs(600));
        let io = io.settings(heartbeat).namespace("/", namespace).build();
        let app = Router::new().nest_service("/socket.io", io.router());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let http = chat_transport_socketio::Server::new().head_timeout(Duration::from_secs(60));
        tokio::spawn(http.run(listener, app, std::future::pending()));
        Self { address, chat }
    }

    /// Redacts what is at a `pos`.
    pub(crate) async fn redact(&self, room: &str, pos: &str) {
        let bookmark: Bookmark = pos.parse().unwrap();
        self.chat.redact(&RoomId::new(room).unwrap(), bookmark.position).await.unwrap();
    }

    /// Forgets what is up to a `pos`.
    pub(crate) async fn trim(&self, room: &str, pos: &str) {
        let bookmark: Bookmark = pos.parse().unwrap();
        self.chat.trim(&RoomId::new(room).unwrap(), bookmark.position).await.unwrap();
    }

    /// Marks the end of what a room has so far: see `Client::rest`.
    pub(crate) async fn end(&self, room: &str) {
        let author = Author { id: UserId::new("app").unwrap(), name: DisplayName::new("App").unwrap() };
        let key = MessageKey::new(&format!("end-{:?}", std::time::Instant::now())).unwrap();
        let body = Body::text("\"the end\"");
        self.post(room, Draft { kind: Kind::Message, author, key, body }).await;
    }

    /// What an application posts by itself.
    pub(crate) async fn post(&self, room: &str, draft: Draft) {
        self.chat.post(&RoomId::new(room).unwrap(), draft).await.unwrap();
    }
}

/// No limit on requests: most tests are not about it.
pub(crate) fn unlimited() -> ChatSettings {
    let mut settings = ChatSettings::default();
    settings.requests_per_second = None;
    settings.user_requests_per_second = None;
    settings.joins_per_second = None;
    settings.notices_per_second = None;
    settings
}

pub(crate) fn at_most(per_second: u32, burst: u32) -> ChatSettings {
    let mut settings = ChatSettings::default();
    settings.requests_per_second = NonZeroU32::new(per_second);
    settings.requests_burst = NonZeroU32::new(burst).unwrap();
    settings
}
