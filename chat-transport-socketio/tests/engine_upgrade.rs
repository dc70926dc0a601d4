//! The change from long-polling to WebSocket while the application is behind.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Context;
use std::time::Duration;

use axum::Router;
use chat_transport_socketio::engine::{
    Appetite, Application, CloseReason, Engine, Handle, Message, Opening, Work, Writer,
};
use futures_util::{SinkExt, StreamExt};
use support::{Polling, calm, soon, start, until};
use tokio_tungstenite::tungstenite::Message as Frame;

#[derive(Default)]
struct Seen {
    taken: AtomicUsize,
    goes_on: AtomicBool,
    handle: Mutex<Option<Arc<Handle>>>,
}

/// Is busy from its fortieth message on, until it may go on.
struct Busy(Arc<Seen>);

impl Application for Busy {
    fn receive(&mut self, _: Message) -> Result<(), CloseReason> {
        self.0.taken.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn appetite(&self) -> Appetite {
        let may = self.0.taken.load(Ordering::SeqCst) < 40 || self.0.goes_on.load(Ordering::SeqCst);
        if may { Appetite::Hungry } else { Appetite::Busy }
    }

    fn poll_work(&mut self, _: &mut Context<'_>, _: &mut Writer<'_>) -> Work {
        Work::Done
    }
}

/// The client asks for the change while its POST of a hundred packets is taken in; what follows on the WebSocket comes behind them.
async fn upgrade_during_a_post(upgrade_timeout: Duration, wait: Duration) {
    let seen = Arc::new(Seen::default());
    let engine = Engine::new(calm().upgrade_timeout(upgrade_timeout), {
        let seen = seen.clone();
        move |opening: Opening| {
            *seen.handle.lock().unwrap() = Some(opening.handle);
            Busy(seen.clone())
        }
    });
    let address = start(Router::new().nest_service("/engine.io", engine.router())).await;
    let session = Polling::open(address, "/engine.io/").await;
    let mut ws = session.websocket().await;
    ws.send("2probe").await;
    assert_eq!(ws.text().await, "3probe");
    let posting = tokio::spawn({
        let session = session.clone();
        async move { session.post(&["4x"; 100].join("\u{1e}")).await }
    });
    until("some of it is taken", || seen.taken.load(Ordering::SeqCst) == 40).await;
    for frame in [Frame::Ping("".into()), Frame::text("5"), Frame::text("4last")] {
        soon(ws.0.feed(frame)).await.unwrap();
    }
    soon(ws.0.flush()).await.unwrap();
    // All of that has been read.
    assert!(matches!(soon(ws.0.next()).await, Some(Ok(Frame::Pong(_)))));
    tokio::time::sleep(wait).await;
    seen.goes_on.store(true, Ordering::SeqCst);
    seen.handle.lock().unwrap().as_ref().unwrap().wake();
    until("all is taken", || seen.taken.load(Ordering::SeqCst) == 101).await;
    assert_eq!(soon(posting).await.unwrap().status, 200);
}

#[tokio::test]
async fn an_upgrade_goes_on_when_the_post_before_it_is_taken_in() {
    upgrade_during_a_post(Duration::from_secs(10), Duration::ZERO).await;
}

#[tokio::test]
async fn an_upgrade_that_the_client_has_made_is_not_given_up() {
    upgrade_during_a_post(Duration::from_millis(100), Duration::from_millis(300)).await;
}
