//! What a supervisor or a load balancer asks: is the process alive, and can it serve.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use chat_core::{Chat, RoomId};

/// Less than the patience of those who ask.
const STORE_ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// `/healthz`: the process answers. `/readyz`: its store does, too; otherwise 503 with the reason.
pub(crate) fn router(chat: Chat) -> Router {
    Router::new()
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(async move || ready(&chat).await))
}

async fn ready(chat: &Chat) -> (StatusCode, String) {
    // Any room will do: asking about one stores nothing.
    let room = RoomId::new("general").expect("a room's name may be general");
    match tokio::time::timeout(STORE_ANSWERS_WITHIN, chat.bounds(&room)).await {
        Ok(Ok(_)) => (StatusCode::OK, "ready\n".to_owned()),
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n".to_owned()),
    }
}
