//! A chat on socketioxide and axum, as one writes it from their documentation.
//!
//! Speaks what `../README.md` calls the common contract. With `--db PATH` it is the logic of Socket.IO's chat tutorial in Rust, with rooms: a message is stored, then broadcast, then acknowledged,
//! and a connection is sent what was stored after its `serverOffset`. Without, nothing is kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::serve::ListenerExt;
use clap::Parser;
use serde::Deserialize;
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, Data, SocketRef, TryData};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row, SqlitePool};
use tokio::net::TcpListener;

/// No arguments: `()` would be one, `null`.
const NOTHING: [(); 0] = [];

type BoxError = Box<dyn std::error::Error>;

#[derive(Parser)]
struct Options {
    #[arg(long, default_value = "127.0.0.1:3000")]
    listen: String,
    /// Keeps messages in this SQLite file.
    #[arg(long)]
    db: Option<PathBuf>,
    /// Packets that may wait for a connection (`max_buffer_size`); what comes then is lost to it. The library's default is 128.
    #[arg(long)]
    buffer: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Auth {
    room: Option<String>,
    server_offset: i64,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let options = Options::parse();
    let messages = Arc::new(match &options.db {
        Some(path) => Messages::Stored(Database::open(path).await?),
        None => Messages::Counted(AtomicI64::new(0)),
    });
    let mut builder = SocketIo::builder();
    if let Some(packets) = options.buffer {
        builder = builder.max_buffer_size(packets);
    }
    let (layer, io) = builder.build_layer();
    let all = io.clone();
    io.ns("/", move |socket: SocketRef, TryData(auth): TryData<Auth>| {
        connected(all.clone(), socket, auth.unwrap_or_default(), messages.clone())
    });
    let app = axum::Router::new().layer(layer);
    let listener = TcpListener::bind(&options.listen).await?;
    println!("listening");
    // A small message must not wait for the acknowledgement of the one before.
    let listener = listener.tap_io(|stream| {
        stream.set_nodelay(true).ok();
    });
    axum::serve(listener, app).await?;
    Ok(())
}

async fn connected(io: SocketIo, socket: SocketRef, auth: Auth, messages: Arc<Messages>) {
    let room = auth.room.unwrap_or_else(|| "general".to_owned());
    socket.join(room.clone());

    let (to, stored) = (room.clone(), messages.clone());
    socket.on(
        "chat message",
        async move |Data::<(String, String)>((text, client_offset)), ack: AckSender| {
            let offset = match stored.add(&to, &client_offset, &text).await {
                Ok(Some(offset)) => offset,
                // It is stored already.
                Ok(None) => return ack.send(&NOTHING).unwrap_or_default(),
                // Not acknowledged: the client tries again.
                Err(error) => return eprintln!("not stored: {error}"),
            };
            io.within(to.clone()).emit("chat message", &(text, offset)).await.ok();
            ack.send(&NOTHING).ok();
        },
    );

    let to = room.clone();
    socket.on("typing", async move |socket: SocketRef, Data::<bool>(typing)| {
        socket.to(to.clone()).emit("typing", &typing).await.ok();
    });

    // socketioxide has no connection state recovery, so nobody is ever recovered.
    if let Messages::Stored(database) = &*messages {
        match database.after(&room, auth.server_offset).await {
            Ok(missed) => missed.iter().for_each(|message| {
                socket.emit("chat message", message).ok();
            }),
            Err(error) => eprintln!("nothing replayed: {error}"),
        }
    }
}

enum Messages {
    Stored(Database),
    Counted(AtomicI64),
}

impl Messages {
    /// The offset of a new message; none if it is not new.
    async fn add(&self, room: &str, client_offset: &str, text: &str) -> sqlx::Result<Option<i64>> {
        match self {
            Messages::Stored(database) => database.add(room, client_offset, text).await,
            Messages::Counted(last) => Ok(Some(last.fetch_add(1, Ordering::Relaxed) + 1)),
        }
    }
}

/// SQLite has one writer at a time; who waits for its turn here does not have to ask the file again and again.
struct Database {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Database {
    async fn open(path: &Path) -> sqlx::Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
        sqlx::query(
            "CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY AUTOINCREMENT, room TEXT NOT NULL, client_offset TEXT UNIQUE, content TEXT NOT NULL)",
        )
        .execute(&writer)
        .await?;
        sqlx::query("CREATE INDEX IF NOT EXISTS messages_by_room ON messages (room, id)")
            .execute(&writer)
            .await?;
        let readers =
            SqlitePoolOptions::new().max_connections(4).connect_with(options.read_only(true)).await?;
        Ok(Self { writer, readers })
    }

    async fn add(&self, room: &str, client_offset: &str, text: &str) -> sqlx::Result<Option<i64>> {
        let insert = sqlx::query("INSERT INTO messages (room, client_offset, content) VALUES (?, ?, ?)");
        match insert.bind(room).bind(client_offset).bind(text).execute(&self.writer).await {
            Ok(done) => Ok(Some(done.last_insert_rowid())),
            Err(error) if error.as_database_error().is_some_and(|error| error.is_unique_violation()) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn after(&self, room: &str, offset: i64) -> sqlx::Result<Vec<(String, i64)>> {
        let select = sqlx::query("SELECT content, id FROM messages WHERE room = ? AND id > ? ORDER BY id");
        let rows = select.bind(room).bind(offset).fetch_all(&self.readers).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }
}
