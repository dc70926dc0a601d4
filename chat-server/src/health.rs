//! What a supervisor or a load balancer asks: is the process alive, and can it serve.

use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use chat_core::{Chat, RoomId};

use crate::writes::Writes;

/// Less than the patience of those who ask.
const STORE_ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// `/healthz`: the process answers. `/readyz`: its store does, too, and stored the last message that it was given; otherwise 503 with the
/// reason.
pub(crate) fn router(chat: Chat, writes: Writes) -> Router {
    Router::new()
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(async move || ready(&chat, &writes).await))
}

async fn ready(chat: &Chat, writes: &Writes) -> (StatusCode, String) {
    // Any room will do: asking about one stores nothing.
    let room = RoomId::new("general").expect("a room's name may be general");
    match tokio::time::timeout(STORE_ANSWERS_WITHIN, chat.bounds(&room)).await {
        Ok(Ok(_)) => match writes.failing(Instant::now()) {
            None => (StatusCode::OK, "ready\n".to_owned()),
            Some(reason) => {
                (StatusCode::SERVICE_UNAVAILABLE, format!("the store takes no messages: {reason}\n"))
            }
        },
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n".to_owned()),
    }
}
