//! The full protocol: who is there, who types, and names.

use std::num::NonZeroUsize;
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{
    Action, Authority, Backends, Chat, Limits, MemoryStore, Offset, RoomId, StoreResult, UserId, Who,
};
use serde_json::{Value, json};

use crate::client::Client;
use crate::server::{Server, unlimited};

/// One who is gone is gone at once.
async fn server() -> Server {
    let mut limits = Limits::default();
    limits.presence_grace = Duration::ZERO;
    limits.named_notices_max = 3;
    limits.notices_kept_max = NonZeroUsize::new(64).unwrap();
    Server::limited(limits).await
}

/// A guest of that name in a room, and its id.
async fn guest(server: &Server, name: &str) -> (Client, String) {
    let secret = format!("{name}, whom nobody else knows");
    let mut client =
        Client::connect(server, json!({"guest": secret, "name": name, "rooms": {"lobby": 0}})).await;
    let (event, reset) = client.notice().await;
    assert_eq!(event, "presence_reset");
    let online = reset["online"].as_array().unwrap();
    let own = online.iter().find(|user| user["name"] == name).expect("who comes is told of itself");
    let id = own["id"].as_str().unwrap().to_owned();
    (client, id)
}

fn named(event: &str, arg: Value) -> (String, Value) {
    (event.to_owned(), arg)
}

/// The next `presence`, but for its version.
async fn presence(client: &mut Client) -> Value {
    let (event, mut arg) = client.notice().await;
    assert_eq!(event, "presence", "{arg}");
    assert!(arg.as_object_mut().unwrap().remove("version").unwrap().is_u64());
    arg
}

#[tokio::test]
async fn who_comes_and_goes_is_told_to_those_who_are_there() {
    let server = server().await;
    let (mut ada, ada_id) = guest(&server, "Ada").await;
    let (mut bob, bob_id) = guest(&server, "Bob").await;
    let user = json!({"id": bob_id, "name": "Bob"});
    assert_eq!(presence(&mut ada).await, json!({"room": "lobby", "user": user, "online": true, "count": 2}));
    assert_eq!(bob.ask("leave", json!({"room": "lobby"})).await["ok"], true);
    assert_eq!(presence(&mut ada).await, json!({"room": "lobby", "user": user, "online": false, "count": 1}));
    bob.ask("join", json!({"room": "lobby"})).await;
    let (event, reset) = bob.notice().await;
    assert_eq!((event.as_str(), &reset["count"]), ("presence_reset", &json!(2)));
    let names: Vec<_> = reset["online"].as_array().unwrap().iter().map(|user| user["id"].clone()).collect();
    let mut expected = [json!(ada_id), json!(bob_id)];
    expected.sort_by_key(Value::to_string);
    assert_eq!(names, expected);
    presence(&mut ada).await;
    bob.cut();
    assert_eq!(presence(&mut ada).await["online"], false);
    assert_eq!(ada.notices().await, []);
}

#[tokio::test]
async fn the_tutorials_connections_are_there_and_are_told_nothing() {
    let server = Server::start().await;
    let mut ada = Client::connect(&server, json!({"rooms": {"general": 0}})).await;
    assert_eq!(ada.notice().await.0, "presence_reset");
    let mut tutorial = Client::connect(&server, json!({"name": "Tab"})).await;
    let arrived = presence(&mut ada).await;
    assert_eq!((&arrived["user"]["name"], &arrived["online"]), (&json!("Tab"), &json!(true)));
    ada.ask("typing", json!({"room": "general", "typing": true})).await;
    tutorial.say("hello", "id-1").await;
    tutorial.heard().await;
    assert_eq!(tutorial.notices().await, []);
    let members = ada.ask("members", json!({"room": "general"})).await;
    assert_eq!((&members["total"], members["members"].as_array().unwrap().len()), (&json!(2), 2));
}

#[tokio::test]
async fn typing_is_told_to_the_others_once() {
    let server = server().await;
    let (mut ada, _) = guest(&server, "Ada").await;
    let (mut bob, bob_id) = guest(&server, "Bob").await;
    presence(&mut ada).await;
    let typing = |typing| json!({"room": "lobby", "typing": typing});
    for said in [true, true, false, false] {
        assert_eq!(bob.ask("typing", typing(said)).await, json!({"ok": true}));
        if said {
            bob.emit("typing", &[typing(true)]).await;
        }
    }
    let told = |typing| {
        let user = json!({"id": bob_id, "name": "Bob"});
        named("typing", json!({"room": "lobby", "user": user, "typing": typing}))
    };
    let mut heard = ada.notices().await;
    while heard.last() != Some(&told(false)) {
        heard.push(ada.notice().await);
    }
    // Whoever looks late is told the newest alone.
    assert!(heard == [told(true), told(false)] || heard == [told(false)], "{heard:?}");
    assert_eq!(bob.notices().await, [], "and not to itself");
}

#[tokio::test]
async fn how_far_somebody_has_read_is_told_to_all() {
    let server = server().await;
    let (mut ada, ada_id) = guest(&server, "Ada").await;
    let user = UserId::new(&ada_id).unwrap();
    server.chat.tell_read(&RoomId::new("lobby").unwrap(), &user, Offset::new(7).unwrap());
    assert_eq!(
        ada.notice().await,
        named("read", json!({"room": "lobby", "user": {"id": ada_id}, "offset": 7}))
    );
}

#[tokio::test]
async fn in_a_large_room_numbers_are_told() {
    let server = server().await;
    let (mut ada, ada_id) = guest(&server, "Ada").await;
    let mut others = Vec::new();
    for name in ["Bob", "Cyd"] {
        others.push(guest(&server, name).await.0);
        presence(&mut ada).await;
    }
    let mut dan = Client::full(&server, json!({"lobby": 0})).await;
    assert_eq!(presence(&mut ada).await["count"], 4);
    dan.ask("join", json!({"room": "lobby"})).await;
    let reset = loop {
        let (event, reset) = dan.notice().await;
        assert_eq!(event, "presence_reset");
        if reset["count"] == 4 && reset.get("online").is_none() {
            break reset;
        }
    };
    assert!(reset["version"].is_u64());
    others[0].ask("typing", json!({"room": "lobby", "typing": true})).await;
    assert_eq!(ada.notice().await, named("typing", json!({"room": "lobby", "count": 1})));
    let user = UserId::new(&ada_id).unwrap();
    server.chat.tell_read(&RoomId::new("lobby").unwrap(), &user, Offset::new(7).unwrap());
    assert_eq!(ada.notice().await, named("read", json!({"room": "lobby", "offset": 7, "count": 1})));
}

#[tokio::test]
async fn a_guest_has_another_name_from_then_on() {
    let server = server().await;
    let (mut ada, _) = guest(&server, "Ada").await;
    let (mut bob, bob_id) = guest(&server, "Bob").await;
    presence(&mut ada).await;
    assert_eq!(bob.ask("rename", json!({"name": "Robert"})).await, json!({"ok": true}));
    let user = json!({"id": bob_id, "name": "Robert"});
    assert_eq!(presence(&mut ada).await, json!({"room": "lobby", "user": user, "online": true, "count": 2}));
    bob.ask("post", json!({"room": "lobby", "id": "1", "content": "hi"})).await;
    assert_eq!(ada.expect("message").await["from"], user);
    for name in [json!(""), json!(7), json!("x".repeat(65)), Value::Null] {
        let refused = bob.ask("rename", json!({ "name": name })).await;
        assert_eq!(refused["error"]["code"], "bad_request");
    }
}

#[tokio::test]
async fn members_are_read_in_pages_by_those_who_are_there() {
    let server = server().await;
    let mut clients = Vec::new();
    let mut ids = Vec::new();
    for name in ["Ada", "Bob", "Cyd"] {
        let (client, id) = guest(&server, name).await;
        clients.push(client);
        ids.push(id);
    }
    let (_laptop, _) = guest(&server, "Bob").await;
    let ada = &mut clients[0];
    ids.sort();
    // What is stored of who comes follows its join.
    let first = loop {
        let page = ada.ask("members", json!({"room": "lobby", "limit": 2})).await;
        let all = ada.ask("members", json!({"room": "lobby", "limit": 1_000})).await;
        let devices: u64 =
            all["members"].as_array().unwrap().iter().map(|member| member["devices"].as_u64().unwrap()).sum();
        if devices == 4 {
            break page;
        }
    };
    assert_eq!(first["total"], 3);
    let found = |page: &Value| -> Vec<String> {
        page["members"]
            .as_array()
            .unwrap()
            .iter()
            .map(|member| member["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(found(&first), ids[..2]);
    let second = ada.ask("members", json!({"room": "lobby", "limit": 2, "after": ids[1]})).await;
    assert_eq!(found(&second), ids[2..]);
    assert_eq!(second["version"], first["version"]);
    for (request, code) in [
        (json!({"room": "den"}), "not_joined"),
        (json!({"room": "lobby", "limit": 0}), "bad_request"),
        (json!({"room": "lobby", "after": 7}), "bad_request"),
        (json!({"room": "lobby", "after": ""}), "bad_request"),
        (json!({}), "bad_request"),
    ] {
        assert_eq!(ada.ask("members", request.clone()).await["error"]["code"], code, "{request}");
    }
    for (request, code) in [
        (json!({"room": "den", "typing": true}), "not_joined"),
        (json!({"room": "den", "typing": false}), "not_joined"),
        (json!({"room": "lobby"}), "bad_request"),
        (json!({"room": "lobby", "typing": "yes"}), "bad_request"),
    ] {
        assert_eq!(ada.ask("typing", request.clone()).await["error"]["code"], code, "{request}");
    }
}

/// Nobody may see who is there.
#[derive(Debug)]
struct Discreet;

#[async_trait]
impl Authority for Discreet {
    async fn allows(&self, _: &Who, _: &RoomId, action: Action) -> StoreResult<bool> {
        Ok(action != Action::SeeMembers)
    }
}

#[tokio::test]
async fn who_may_not_see_the_members_is_told_nothing() {
    let backends = Backends::from_store(MemoryStore::new());
    let server = Server::with(Chat::builder(backends).authority(Discreet), unlimited()).await;
    let mut ada = Client::full(&server, json!({"lobby": 0})).await;
    let mut bob = Client::full(&server, json!({"lobby": 0})).await;
    bob.ask("typing", json!({"room": "lobby", "typing": true})).await;
    assert_eq!(ada.notices().await, []);
    assert_eq!(ada.ask("members", json!({"room": "lobby"})).await["error"]["code"], "forbidden");
}

/// Keeps everybody out of one room.
#[derive(Debug)]
struct NotTheVault;

#[async_trait]
impl Authority for NotTheVault {
    async fn allows(&self, _: &Who, room: &RoomId, _: Action) -> StoreResult<bool> {
        Ok(room.as_str() != "vault")
    }
}

#[tokio::test]
async fn who_is_refused_is_in_no_room_for_the_others() {
    let mut limits = Limits::default();
    limits.presence_grace = Duration::from_secs(3_600);
    let chat = Chat::builder(Backends::from_store(MemoryStore::new())).limits(limits).authority(NotTheVault);
    let server = Server::with(chat, unlimited()).await;
    let (mut ada, _) = guest(&server, "Ada").await;
    for _ in 0..3 {
        let error = Client::refused(&server, r#"{"rooms":{"lobby":0,"vault":0}}"#).await;
        assert_eq!(error["data"]["code"], "forbidden");
    }
    let (_bob, bob_id) = guest(&server, "Bob").await;
    // The store was told of those before.
    while presence(&mut ada).await["user"]["id"] != bob_id {}
    assert_eq!(ada.ask("members", json!({"room": "lobby"})).await["total"], 2);
}
