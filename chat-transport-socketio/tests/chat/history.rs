//! Pages of history, backwards.

use chat_core::{Author, Body, DisplayName, Draft, Kind, MessageKey, UserId};
use serde_json::{Value, json};

use crate::client::Client;
use crate::server::Server;

async fn post(client: &mut Client, id: &str, content: Value) -> Value {
    let reply = client.ask("post", json!({"room": "lobby", "id": id, "content": content})).await;
    assert_eq!(reply["ok"], true, "{reply}");
    reply
}

fn offsets(page: &Value) -> Vec<u64> {
    assert_eq!(page["ok"], true, "{page}");
    page["messages"].as_array().unwrap().iter().map(|message| message["offset"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn pages_go_backward_and_each_is_ascending() {
    let server = Server::start().await;
    let mut ada = Client::full(&server, json!({"lobby": 0})).await;
    for number in 1..=7 {
        post(&mut ada, &format!("k-{number}"), json!(number)).await;
    }
    let mut page = async |request: Value| {
        let mut request = request;
        request["room"] = json!("lobby");
        let page = ada.ask("history", request).await;
        assert_eq!((&page["oldest"], &page["head"]), (&json!(1), &json!(7)));
        offsets(&page)
    };
    assert_eq!(page(json!({"limit": 3})).await, [5, 6, 7]);
    assert_eq!(page(json!({"limit": 3, "before": 5})).await, [2, 3, 4]);
    assert_eq!(page(json!({"limit": 3, "before": 2})).await, [1]);
    assert_eq!(page(json!({"before": 1})).await, [0_u64; 0]);
    assert_eq!(page(json!({"before": 0})).await, [0_u64; 0]);
    assert_eq!(page(json!({"before": 1_000})).await, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(page(json!({"before": null, "limit": null})).await, [1, 2, 3, 4, 5, 6, 7]);
}

#[tokio::test]
async fn a_room_that_was_never_written_to_has_an_empty_history() {
    let server = Server::start().await;
    let mut ada = Client::full(&server, json!({})).await;
    let page = ada.ask("history", json!({"room": "lobby"})).await;
    assert_eq!(page, json!({"ok": true, "messages": [], "oldest": 1, "head": 0}));
}

#[tokio::test]
async fn an_element_of_history_is_what_the_message_event_was() {
    let server = Server::start().await;
    let mut ada = Client::full(&server, json!({"lobby": 0})).await;
    post(&mut ada, "k", json!({"text": "hi"})).await;
    let event = ada.expect("message").await;
    assert_eq!(ada.ask("history", json!({"room": "lobby"})).await["messages"], json!([event]));
}

#[tokio::test]
async fn a_page_is_bounded_in_messages_bytes_and_attachments_and_has_at_least_one_message() {
    let server = Server::start().await;
    let mut ada = Client::full(&server, json!({"lobby": 0})).await;
    for number in 1..=210 {
        post(&mut ada, &format!("k-{number}"), json!(number)).await;
    }
    let page = ada.ask("history", json!({"room": "lobby", "limit": 1_000_000})).await;
    assert_eq!(offsets(&page), (11..=210).collect::<Vec<u64>>());
    assert_eq!(offsets(&ada.ask("history", json!({"room": "lobby"})).await).len(), 50);

    let large = "x".repeat(60_000);
    for number in 1..=6 {
        post(&mut ada, &format!("large-{number}"), json!(large)).await;
    }
    assert_eq!(offsets(&ada.ask("history", json!({"room": "lobby"})).await), [213, 214, 215, 216]);

    let places: Vec<Value> = (0..8).map(|number| json!({"_placeholder": true, "num": number})).collect();
    for number in 1..=2 {
        let request = json!({"room": "lobby", "id": format!("binary-{number}"), "content": places});
        let (reply, _) = ada.ask_raw("post", &[&request.to_string()], &[&b"x"[..]; 8]).await;
        assert_eq!(reply["ok"], true, "{reply}");
    }
    let (page, attachments) = ada.ask_raw("history", &[r#"{"room":"lobby"}"#], &[]).await;
    assert_eq!((offsets(&page), attachments.len()), (vec![218], 8));
}

#[tokio::test]
async fn trimmed_history_ends_at_the_oldest_that_is_kept() {
    let server = Server::start().await;
    let mut ada = Client::full(&server, json!({"lobby": 0})).await;
    let mut replies = Vec::new();
    for number in 1..=5 {
        replies.push(post(&mut ada, &format!("k-{number}"), json!(number)).await);
    }
    server.trim("lobby", replies[2]["pos"].as_str().unwrap()).await;
    let page = ada.ask("history", json!({"room": "lobby"})).await;
    assert_eq!((offsets(&page), &page["oldest"], &page["head"]), (vec![4, 5], &json!(4), &json!(5)));
    assert_eq!(offsets(&ada.ask("history", json!({"room": "lobby", "before": 4})).await), [0_u64; 0]);
}

/// More is asked for at once than may wait for a client that does not read.
#[tokio::test]
async fn many_pages_asked_for_at_once_are_all_answered() {
    let server = Server::start().await;
    let mut ada = Client::full(&server, json!({"lobby": 0})).await;
    for number in 1..=4 {
        post(&mut ada, &format!("large-{number}"), json!("x".repeat(60_000))).await;
    }
    let mut bob = Client::small(&server, &json!({"rooms": {}})).await;
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(bob.request("history", &[r#"{"room":"lobby"}"#], &[]).await);
    }
    for id in ids {
        assert_eq!(offsets(&bob.answer(id).await.0).len(), 4);
    }
}

#[tokio::test]
async fn a_page_behind_many_entries_that_are_no_messages_is_not_taken_for_the_beginning() {
    let server = Server::start().await;
    let mut ada = Client::full(&server, json!({"lobby": 0})).await;
    post(&mut ada, "first", json!("first")).await;
    for number in 0..20_000 {
        let author = Author { id: UserId::new("app").unwrap(), name: DisplayName::new("App").unwrap() };
        let key = MessageKey::new(&format!("fact-{number}")).unwrap();
        server.post("lobby", Draft { kind: Kind::Fact, author, key, body: Body::text("{}") }).await;
    }
    let page = ada.ask("history", json!({"room": "lobby"})).await;
    assert_eq!(offsets(&page), [1]);
}
