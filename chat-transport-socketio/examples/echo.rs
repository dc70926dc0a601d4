//! Sends back what it gets: the settings and events that the protocols' own test suites expect of a server.
//!
//! `cargo run -p chat-transport-socketio --example echo -- 3000` serves Socket.IO on `/socket.io/` and bare Engine.IO on `/engine.io/`.

use std::collections::VecDeque;
use std::task::Context;
use std::time::Duration;

use axum::Router;
use chat_transport_socketio::engine::{
    Appetite, Application, CloseReason, Engine, Message, Origins, Settings, Work, Writer,
};
use chat_transport_socketio::{Args, Auth, Event, Namespace, Refusal, Socket, SocketIo, serve};

fn events() -> Namespace {
    Namespace::new()
        .on_connect(|socket: Socket, auth: Auth| async move {
            let auth = Args::new().raw(auth.raw().unwrap_or("{}"));
            socket.emit_args("auth", &auth).map_err(|_| Refusal::Passing)
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
    let port: u16 = std::env::args().nth(1).as_deref().unwrap_or("3000").parse()?;
    let settings = Settings::default()
        .ping_interval(Duration::from_millis(300))
        .ping_timeout(Duration::from_millis(200))
        .origins(Origins::Any);
    let io = SocketIo::builder()
        .settings(settings.clone())
        .connect_timeout(Duration::from_secs(1))
        .namespace("/", events())
        .namespace("/custom", events())
        .build();
    let engine = Engine::new(settings, |_| Echo::default());
    let app =
        Router::new().nest_service("/socket.io", io.router()).nest_service("/engine.io", engine.router());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener, app, std::future::pending()).await;
    Ok(())
}
