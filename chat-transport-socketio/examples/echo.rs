//! The event API on a page: what the protocols' own test suites expect of a server (`--mode echo`), and a server whose clients are recovered
//! (`--mode recovery`), also by the next process if there is a store (`--store sqlite:PATH`), or with checks, typed events and namespaces that are
//! made when they are asked for (`--mode events`).
//!
//! `cargo run -p chat-transport-socketio --example echo -- --port 3000 --mode recovery` serves Socket.IO on `/socket.io/` and, in echo mode, bare
//! Engine.IO on `/engine.io/`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;
use std::time::Duration;

use axum::Router;
use chat_store_sqlite::SqliteStore;
use chat_transport_socketio::engine::{
    Appetite, Application, CloseReason, Engine, Message, Origins, Settings, Work, Writer,
};
use chat_transport_socketio::{
    Args, Auth, Event, Failure, Namespace, Recovery, Refusal, Socket, SocketIo, serve,
};
use serde_json::json;

/// What all modes have.
fn echo() -> Namespace {
    Namespace::new()
        .on_connect(|socket: Socket, auth: Auth| async move {
            let silent = auth.parse::<serde_json::Value>().is_ok_and(|auth| auth["silent"] == true);
            if !socket.recovered() && !silent {
                let payload = Args::new().raw(auth.raw().unwrap_or("{}"));
                socket.emit_args("auth", &payload).map_err(|_| Refusal::Passing)?;
            }
            Ok(())
        })
        .on("message", |socket: Socket, event: Event| async move {
            // A client that takes nothing back has its connection closed in the end; there is nothing to do about it here.
            let _ = socket.emit_args("message-back", &Args::from(&event));
        })
        .on("message-with-ack", |_, mut event: Event| async move {
            if let Some(ack) = event.ack.take() {
                let _ = ack.send_args(&Args::from(&event));
            }
        })
}

/// Rooms, data and broadcasts, all of which a recovered client gets back.
fn rooms() -> Namespace {
    echo()
        .on("join", |socket: Socket, event: Event| async move {
            socket.join(&text(&event, 0));
            done(event);
        })
        .on("leave", |socket: Socket, event: Event| async move {
            socket.leave(&text(&event, 0));
            done(event);
        })
        .on("rooms", |socket: Socket, event: Event| async move {
            let mut rooms: Vec<String> = socket.rooms_joined().iter().map(|room| room.to_string()).collect();
            rooms.sort();
            answer(event, &rooms);
        })
        .on("set-data", |socket: Socket, event: Event| async move {
            if let Ok(data) = event.parse::<serde_json::Value>(0) {
                let _ = socket.set_data(&data);
            }
            done(event);
        })
        .on("get-data", |socket: Socket, event: Event| async move {
            answer(event, &socket.data::<serde_json::Value>());
        })
        .on("to-all", |socket: Socket, event: Event| async move {
            socket.to_everybody().emit_args(&text(&event, 0), &Args::rest_of(&event, 1));
            done(event);
        })
        .on("to-all-volatile", |socket: Socket, event: Event| async move {
            socket.to_everybody().emit_args_volatile(&text(&event, 0), &Args::rest_of(&event, 1));
            done(event);
        })
        .on("to-me", |socket: Socket, event: Event| async move {
            let _ = socket.emit_args(&text(&event, 0), &Args::rest_of(&event, 1));
            done(event);
        })
        .on("broadcast", |socket: Socket, event: Event| async move {
            socket.broadcast().emit_args(&text(&event, 0), &Args::rest_of(&event, 1));
            done(event);
        })
        .on("to-room", |socket: Socket, event: Event| async move {
            let room = socket.to_everybody().to(text(&event, 0));
            room.emit_args(&text(&event, 1), &Args::rest_of(&event, 2));
            done(event);
        })
        .on("to-room-except", |socket: Socket, event: Event| async move {
            let room = socket.to_everybody().to(text(&event, 0)).except(text(&event, 1));
            room.emit_args(&text(&event, 2), &Args::rest_of(&event, 3));
            done(event);
        })
        .on("to-me-and-close", |socket: Socket, event: Event| async move {
            // Beside the connection, so that it finds all of it at once.
            tokio::spawn(async move {
                let _ = socket.emit_args(&text(&event, 0), &Args::rest_of(&event, 1));
                done(event);
                socket.close_connection();
            });
        })
        .on("kick", |socket: Socket, event: Event| async move {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                socket.disconnect();
                socket.close_connection();
            });
            done(event);
        })
}

/// Checks, typed events, questions to many, and operations on many sockets.
fn events() -> Namespace {
    let flaky = AtomicUsize::new(0);
    rooms()
        .before_connect(|_, auth: Auth| async move {
            match auth.parse::<serde_json::Value>() {
                Ok(auth) if auth["banned"] == true => {
                    Err(Refusal::Permanent { message: "banned".to_owned(), data: Some(json!({ "days": 7 })) })
                }
                _ => Ok(()),
            }
        })
        .before_event(move |_, event: Event| {
            let passes = match event.name() {
                "forbidden" => Err(Failure::new("forbidden", "nobody may do this")),
                // Two of three are dropped.
                "flaky" if flaky.fetch_add(1, Ordering::Relaxed) % 3 < 2 => Err(Failure::unanswered()),
                _ => Ok(event),
            };
            std::future::ready(passes)
        })
        .on_typed("add", |_, (one, two): (i32, i32)| async move {
            one.checked_add(two).ok_or_else(|| Failure::new("too_large", "the sum has more than 32 bits"))
        })
        .on_typed("flaky", |_, number: u32| async move { Ok(number) })
        .on_typed("ask-room", |socket: Socket, room: String| async move {
            let room = socket.to_everybody().to(room);
            let asked = room.ask("question", &Args::new(), Duration::from_secs(1)).await;
            let answers: Vec<Option<serde_json::Value>> =
                asked.answered.iter().map(|(_, answer)| answer.parse(0).ok()).collect();
            Ok(json!({ "answers": answers, "missing": asked.missing.len() }))
        })
        .on_typed("move-room", |socket: Socket, (from, to): (String, String)| async move {
            socket.to_everybody().to(&from).join(&to);
            socket.to_everybody().to(&to).leave(&from);
            Ok(())
        })
        .on_typed("disconnect-room", |socket: Socket, room: String| async move {
            socket.to_everybody().to(room).disconnect();
            Ok(())
        })
}

/// An argument that is to be a text; anything else counts as the empty one.
fn text(event: &Event, index: usize) -> String {
    event.parse(index).unwrap_or_default()
}

fn answer(mut event: Event, value: &impl serde::Serialize) {
    if let Some(ack) = event.ack.take() {
        let _ = ack.send(value);
    }
}

fn done(mut event: Event) {
    if let Some(ack) = event.ack.take() {
        let _ = ack.send_args(&Args::new());
    }
}

/// Bare Engine.IO: each message comes back as it came.
#[derive(Default)]
struct Echo(VecDeque<Message>);

impl Application for Echo {
    fn receive(&mut self, message: Message) -> Result<(), CloseReason> {
        self.0.push_back(message);
        Ok(())
    }

    fn appetite(&self) -> Appetite {
        if self.0.len() < 10 { Appetite::Hungry } else { Appetite::Clogged }
    }

    fn poll_work(&mut self, _: &mut Context<'_>, writer: &mut Writer<'_>) -> Work {
        while let Some(message) = self.0.pop_front() {
            if !writer.has_room_for(message.len()) {
                self.0.push_front(message);
                return Work::WaitsForRoom;
            }
            match message {
                Message::Text(text) => writer.text(&[b"4", text.as_bytes()]),
                Message::Binary(bytes) => writer.binary(&bytes),
            }
        }
        Work::Done
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let port: u16 = option("--port").unwrap_or("3000").parse()?;
    let settings = Settings::default().max_payload(1_000_000).origins(Origins::Any);
    let app = match option("--mode").unwrap_or("echo") {
        "echo" => {
            let settings =
                settings.ping_interval(Duration::from_millis(300)).ping_timeout(Duration::from_millis(200));
            let io = SocketIo::builder()
                .settings(settings.clone())
                .connect_timeout(Duration::from_secs(1))
                .namespace("/", echo())
                .namespace("/custom", echo())
                .build();
            let engine = Engine::new(settings, |_| Echo::default());
            Router::new().nest_service("/socket.io", io.router()).nest_service("/engine.io", engine.router())
        }
        "recovery" => {
            let settings =
                settings.ping_interval(Duration::from_secs(3)).ping_timeout(Duration::from_secs(2));
            let recovery = match option("--store").map(|url| url.strip_prefix("sqlite:")) {
                None => Recovery::in_memory(),
                Some(Some(path)) => Recovery::in_log(Arc::new(SqliteStore::connect(path).await?)).await?,
                Some(None) => return Err("--store is sqlite:PATH".into()),
            };
            let io = SocketIo::builder()
                .settings(settings)
                .recovery(recovery.disconnection_max(Duration::from_secs(10)))
                .namespace("/", rooms())
                .namespace("/custom", rooms())
                .build();
            Router::new().nest_service("/socket.io", io.router())
        }
        "events" => {
            let game = |name: &str| name.strip_prefix("/game-")?.parse::<u32>().ok().map(|_| events());
            let io = SocketIo::builder()
                .settings(settings)
                .recovery(Recovery::in_memory())
                .namespace("/", events())
                .dynamic_namespaces(game)
                .build();
            Router::new().nest_service("/socket.io", io.router())
        }
        other => return Err(format!("--mode is echo, recovery or events, not {other}").into()),
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener, app, std::future::pending()).await;
    Ok(())
}
