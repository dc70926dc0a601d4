//! Who is let in, who is refused for good, and who a client is.

use async_trait::async_trait;
use chat_core::{Action, Authority, Backends, Chat, Limits, MemoryStore, RoomId, StoreResult, Who};
use serde_json::{Value, json};

use crate::client::Client;
use crate::server::{Server, unlimited};

#[tokio::test]
async fn malformed_auth_is_refused_for_good_and_says_why() {
    let server = Server::start().await;
    for (auth, named) in [
        (r#"{"guest":"short"}"#, "guest"),
        (r#"{"guest":7}"#, "guest"),
        (r#"{"name":""}"#, "name"),
        (r#"{"name":{}}"#, "name"),
        (r#"{"rooms":[]}"#, "rooms"),
        (r#"{"rooms":null}"#, "rooms"),
        (r#"{"rooms":{"":0}}"#, "rooms"),
        (r#"{"rooms":{"dm:a":0}}"#, "rooms"),
        (r#"{"rooms":{"a":"nonsense"}}"#, "rooms.a"),
        (r#"{"rooms":{"a":-1}}"#, "rooms.a"),
    ] {
        let error = Client::refused(&server, auth).await;
        assert!(error["message"].as_str().unwrap().contains(named), "{error}");
        assert_eq!(
            (&error["data"]["code"], &error["data"]["retryable"]),
            (&json!("bad_request"), &json!(false))
        );
        assert_eq!(error["data"]["message"], error["message"]);
    }
}

#[tokio::test]
async fn a_token_is_refused_with_plain_words_where_no_key_is_configured() {
    let server = Server::start().await;
    let error = Client::refused(&server, r#"{"token":"a.b.c","guest":"0123456789abcdef"}"#).await;
    assert_eq!(error["data"]["code"], "unauthorized");
    assert!(error["message"].as_str().unwrap().contains("no key configured"));
    assert!(!error.to_string().contains("a.b.c"));
}

#[tokio::test]
async fn what_recovery_will_need_is_accepted() {
    let server = Server::start().await;
    let auth = json!({"pid": "x", "offset": "y", "position": "z", "recovery": false, "rooms": {}});
    Client::connect(&server, auth).await;
}

#[tokio::test]
async fn more_rooms_than_a_connection_may_be_in_are_refused() {
    let mut limits = Limits::default();
    limits.rooms_per_reader_max = 2;
    let server = Server::limited(limits).await;
    let mut client = Client::full(&server, json!({"a": 0, "b": 0})).await;
    assert_eq!(client.ask("join", json!({"room": "a"})).await["ok"], true);
    let reply = client.ask("join", json!({"room": "c"})).await;
    assert_eq!(reply["error"]["code"], "bad_request");
    let error = Client::refused(&server, r#"{"rooms":{"a":0,"b":0,"c":0}}"#).await;
    assert_eq!(error["data"]["code"], "bad_request");
    assert!(error["message"].as_str().unwrap().contains("at most 2 rooms"));
}

/// Keeps everybody out of one room, and lets a second one only be read.
#[derive(Debug)]
struct Bouncer;

#[async_trait]
impl Authority for Bouncer {
    async fn allows(&self, _: &Who, room: &RoomId, action: Action) -> StoreResult<bool> {
        Ok(match room.as_str() {
            "closed" => false,
            "news" => action != Action::Post,
            _ => true,
        })
    }
}

#[tokio::test]
async fn nobody_gets_into_a_room_that_is_forbidden() {
    let backends = Backends::from_store(MemoryStore::new());
    let server = Server::with(Chat::builder(backends).authority(Bouncer), unlimited()).await;
    let error = Client::refused(&server, r#"{"rooms":{"open":0,"closed":0}}"#).await;
    assert_eq!((&error["data"]["code"], &error["data"]["retryable"]), (&json!("forbidden"), &json!(false)));
    assert!(error["message"].as_str().unwrap().contains("closed"));

    let mut client = Client::full(&server, json!({"news": 0})).await;
    for request in ["join", "history"] {
        assert_eq!(client.ask(request, json!({"room": "closed"})).await["error"]["code"], "forbidden");
    }
    assert_eq!(client.ask("history", json!({"room": "news"})).await["ok"], true);
    let reply = client.ask("post", json!({"room": "news", "id": "k", "content": 1})).await;
    assert_eq!((&reply["error"]["code"], &reply["error"]["retryable"]), (&json!("forbidden"), &json!(false)));
}

#[tokio::test]
async fn the_same_secret_is_the_same_guest_and_its_name_is_what_it_says_now() {
    let server = Server::start().await;
    let mut seen = Client::full(&server, json!({"general": 0})).await;
    let secret = "correct horse battery";
    for (auth, number) in [
        (json!({"guest": secret, "name": "Ada"}), 0),
        (json!({"guest": secret, "name": "Ada L."}), 1),
        (json!({"guest": secret}), 2),
        (json!({"guest": "somebody else's one", "name": "Ada"}), 3),
        (json!({"name": "Ada"}), 4),
        (json!({"name": "Ada"}), 5),
    ] {
        let mut auth = auth;
        auth["rooms"] = json!({"general": 0});
        let mut client = Client::connect(&server, auth).await;
        let id = format!("k-{number}");
        assert_eq!(client.ask("post", json!({"room": "general", "id": id, "content": 1})).await["ok"], true);
    }
    let mut from: Vec<Value> = Vec::new();
    for _ in 0..6 {
        from.push(seen.expect("message").await["from"].clone());
    }
    let ids: Vec<&str> = from.iter().map(|from| from["id"].as_str().unwrap()).collect();
    let names: Vec<&str> = from.iter().map(|from| from["name"].as_str().unwrap()).collect();
    assert!(ids.iter().all(|id| id.starts_with("guest:") && !id.contains("correct")));
    assert!(ids[0] == ids[1] && ids[1] == ids[2]);
    assert!(ids[2] != ids[3] && ids[3] != ids[4] && ids[4] != ids[5]);
    assert_eq!((names[0], names[1], names[3]), ("Ada", "Ada L.", "Ada"));
    assert_eq!(names[2], format!("Guest {}", &ids[2][6..10]));
}
