//! A chat and a game in one namespace: what an application adds to the chat, on a page.
//!
//! `cargo run -p chat-transport-socketio --example mixed`, and in a browser's console on a page with the official client:
//!
//! ```js
//! const socket = io('http://127.0.0.1:3000', { auth: { rooms: { lobby: 0 } } });
//! socket.on('message', (message) => console.log(message.from.name, message.content));      // the chat's, from the log
//! await socket.emitWithAck('post', { room: 'lobby', id: crypto.randomUUID(), content: 'Who plays?' });
//!
//! await socket.emitWithAck('play', { game: 'red' });                                        // { players: 1 }
//! await socket.emitWithAck('move', { piece: 3, to: [4, 'four'] });                          // { ok: false, error: { code: 'bad_request', … } }
//! socket.on('ready?', (answer) => answer(true));
//! await socket.emitWithAck('start');                                                        // { ok: true }
//! ```
//!
//! A client whose connection was cut has its messages and its game again: the chat's rooms are resumed from the log, and the session keeps
//! the game's room, its data, and the moves that were missed.

use std::time::Duration;

use chat_core::{Backends, Chat, MemoryStore};
use chat_transport_socketio::chat::{self, ChatSettings};
use chat_transport_socketio::engine::{Origins, Settings};
use chat_transport_socketio::{Args, Event, Failure, Namespace, Socket, SocketIo, serve};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Deserialize)]
struct Play {
    game: String,
}

/// Where a session plays; a client that comes back still does.
#[derive(Deserialize, Serialize)]
struct Seat {
    room: String,
}

#[derive(Serialize)]
struct Playing {
    players: usize,
}

#[derive(Deserialize, Serialize)]
struct Move {
    piece: u8,
    to: (u8, u8),
}

/// Sits down at a game, and leaves the one before.
async fn play(socket: Socket, Play { game }: Play) -> Result<Playing, Failure> {
    if game.is_empty() || 32 < game.len() {
        return Err(Failure::new("bad_request", "a game's name has 1 to 32 bytes"));
    }
    if let Some(before) = socket.data::<Seat>() {
        socket.leave(&before.room);
    }
    let room = format!("game:{game}");
    socket.join(&room);
    let players = socket.to_everybody().to(&room).count();
    socket.set_data(&Seat { room }).map_err(internal)?;
    Ok(Playing { players })
}

/// Shows a move to the others at the game.
async fn moves(socket: Socket, step: Move) -> Result<(), Failure> {
    socket.to(seat(&socket)?.room).emit("move", &step).map_err(internal)
}

/// Asks everybody at the game, and starts it if all are ready.
async fn start(socket: Socket, (): ()) -> Result<serde_json::Value, Failure> {
    let players = socket.to_everybody().to(seat(&socket)?.room);
    let asked = players.ask("ready?", &Args::new(), Duration::from_secs(5)).await;
    let are_ready = asked.answered.iter().all(|(_, answer)| answer.parse(0).unwrap_or(false));
    if !are_ready || !asked.missing.is_empty() {
        return Err(Failure::new("not_ready", "somebody is not ready").retryable());
    }
    players.emit("start", &()).map_err(internal)?;
    Ok(json!({ "ok": true }))
}

/// Games are for those who play; chatting is for all.
async fn only_at_a_game(socket: Socket, event: Event) -> Result<Event, Failure> {
    match event.name() {
        "move" | "start" => seat(&socket).map(|_| event),
        _ => Ok(event),
    }
}

fn seat(socket: &Socket) -> Result<Seat, Failure> {
    socket.data().ok_or_else(|| Failure::new("not_playing", "sit down first: play"))
}

fn internal(error: impl std::error::Error) -> Failure {
    // What it is goes to the log, not to a client.
    eprintln!("{error}");
    Failure::new("internal", "that did not work")
}

fn lobby(chat: Chat) -> Namespace {
    chat::namespace(chat, ChatSettings::default())
        .before_event(only_at_a_game)
        .on_typed("play", play)
        .on_typed("move", moves)
        .on_typed("start", start)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let chat = Chat::builder(Backends::from_store(MemoryStore::new())).start().await?;
    let io = SocketIo::builder()
        .settings(Settings::default().origins(Origins::Any))
        .recovery(chat::recovery(&chat).await?)
        .namespace("/", lobby(chat))
        .build();
    let app = axum::Router::new().nest_service("/socket.io", io.router());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener, app, std::future::pending()).await;
    Ok(())
}
