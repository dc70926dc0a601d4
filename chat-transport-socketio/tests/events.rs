//! The event API over real sockets: typed events, questions to many, operations on many sockets,
//! and namespaces that are made when they are asked for.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;

use axum::Router;
use chat_transport_socketio::{Failure, Namespace, Socket, SocketIo, SocketIoBuilder};
use serde::{Deserialize, Serialize};
use serde_json::json;
use support::{calm, connected};

async fn serving(builder: SocketIoBuilder) -> (SocketIo, SocketAddr) {
    let io = builder.settings(calm()).build();
    let address = start(&io).await;
    (io, address)
}

async fn start(io: &SocketIo) -> SocketAddr {
    support::start(Router::new().nest_service("/socket.io", io.router())).await
}

async fn one(namespace: Namespace) -> (SocketIo, SocketAddr) {
    serving(SocketIo::builder().namespace("/", namespace)).await
}

/// The JSON that a packet ends in.
fn json_of(packet: &str) -> serde_json::Value {
    serde_json::from_str(packet.trim_start_matches(|c: char| c.is_ascii_digit())).unwrap()
}

#[derive(Deserialize)]
struct Order {
    cups: u32,
    #[serde(default)]
    milk: bool,
}

#[derive(Serialize)]
struct Bill {
    cents: u32,
}

fn tea_house() -> Namespace {
    Namespace::new()
        .on_typed("order", |_: Socket, order: Order| async move {
            tokio::task::yield_now().await;
            match order.cups {
                0 => Err(Failure::new("nothing", "no cups, no tea")),
                13 => Err(Failure::unanswered()),
                cups => Ok(Bill { cents: cups * if order.milk { 300 } else { 250 } }),
            }
        })
        .on_typed("nothing", |_, (): ()| async { Ok(()) })
        .on_typed("unwritable", |_, (): ()| async { Ok(std::collections::HashMap::from([((1, 2), 3)])) })
}

#[tokio::test]
async fn a_typed_handler_is_given_its_argument_and_what_it_returns_is_the_answer() {
    let (_io, address) = one(tea_house()).await;
    let mut ws = connected(address).await;
    for (packet, answer) in [
        (r#"420["order",{"cups":2}]"#, r#"430[{"cents":500}]"#),
        (r#"421["order",{"cups":2,"milk":true},"ignored"]"#, r#"431[{"cents":600}]"#),
        (r#"422["nothing"]"#, "432[null]"),
    ] {
        ws.send(packet).await;
        assert_eq!(ws.text().await, answer);
    }
    ws.send(r#"423["order",{"cups":0}]"#).await;
    let error = json!({ "code": "nothing", "message": "no cups, no tea", "retryable": false });
    assert_eq!(json_of(&ws.text().await), json!([{ "ok": false, "error": error }]));
}

#[tokio::test]
async fn an_argument_of_another_form_is_answered_with_what_is_wrong_and_hurts_nobody() {
    let (_io, address) = one(tea_house()).await;
    let mut ws = connected(address).await;
    for (number, (args, wrong)) in [
        (r#",{"cups":"two"}"#, "invalid type: string \"two\", expected u32"),
        (",{}", "missing field `cups`"),
        (",7", "invalid type: integer `7`"),
        ("", "invalid type: null"),
    ]
    .into_iter()
    .enumerate()
    {
        // Without an ack there is nobody to tell.
        ws.send(&format!(r#"42["order"{args}]"#)).await;
        ws.send(&format!(r#"42{number}["order"{args}]"#)).await;
        let answer = ws.text().await;
        assert!(answer.starts_with(&format!("43{number}[")), "{answer}");
        let reply = &json_of(&answer)[0];
        assert_eq!((&reply["ok"], &reply["error"]["code"]), (&json!(false), &json!("bad_request")));
        assert!(reply["error"]["message"].as_str().unwrap().contains(wrong), "{reply}");
    }
    ws.send(r#"428["unwritable"]"#).await;
    assert_eq!(json_of(&ws.text().await)[0]["error"]["code"], "internal");
    // Unanswered, so that the next one that is answered is the next one.
    ws.send(r#"428["order",{"cups":13}]"#).await;
    ws.send(r#"429["order",{"cups":1}]"#).await;
    assert_eq!(ws.text().await, r#"439[{"cents":250}]"#);
}
