//! The full protocol: join, leave, post, and what comes from the server.

use chat_core::{Author, Backends, Body, Chat, DisplayName, Draft, Kind, MemoryStore, MessageKey, UserId};
use serde_json::{Value, json};

use crate::client::{Client, Received};
use crate::server::{Server, at_most};

fn post(room: &str, id: &str, content: &str) -> Value {
    json!({ "room": room, "id": id, "content": content })
}

async fn posted(client: &mut Client, room: &str, id: &str) -> Value {
    let reply = client.ask("post", post(room, id, id)).await;
    assert_eq!(reply["ok"], true, "{reply}");
    reply
}

fn code(reply: &Value) -> (&str, bool) {
    assert_eq!(reply["ok"], false, "{reply}");
    assert!(reply["error"]["message"].as_str().is_some_and(|message| !message.is_empty()));
    (reply["error"]["code"].as_str().unwrap(), reply["error"]["retryable"].as_bool().unwrap())
}

#[tokio::test]
async fn a_message_has_every_field_of_the_contract() {
    let server = Server::start().await;
    let mut ada = Client::connect(&server, json!({"name": "Ada", "rooms": {"lobby": 0}})).await;
    let reply =
        ada.ask("post", json!({"room": "lobby", "id": "k-1", "content": {"text": "hi"}, "other": 1})).await;
    assert_eq!(
        (&reply["ok"], &reply["offset"], &reply["duplicate"]),
        (&json!(true), &json!(1), &json!(false))
    );
    let message = ada.expect("message").await;
    assert!(message["from"]["id"].as_str().unwrap().starts_with("guest:"));
    let at = message["at"].as_u64().unwrap();
    assert!(1_600_000_000_000 < at);
    assert_eq!(reply["at"], at);
    assert_eq!(
        message,
        json!({
            "room": "lobby", "offset": 1, "pos": reply["pos"], "id": "k-1",
            "from": {"id": message["from"]["id"], "name": "Ada"},
            "content": {"text": "hi"}, "at": at,
        })
    );
}

#[tokio::test]
async fn a_repeat_is_answered_like_the_first_and_other_content_is_a_conflict() {
    let server = Server::start().await;
    let mut ada = Client::full(&server, json!({"lobby": 0})).await;
    let first = posted(&mut ada, "lobby", "k").await;
    let again = posted(&mut ada, "lobby", "k").await;
    assert_eq!(again["duplicate"], true);
    for field in ["offset", "pos", "at"] {
        assert_eq!(first[field], again[field]);
    }
    assert_eq!(code(&ada.ask("post", post("lobby", "k", "other")).await), ("conflict", false));
    // Other authors, and other rooms, have keys of their own.
    let mut bob = Client::full(&server, json!({"lobby": 0, "den": 0})).await;
    assert_eq!(posted(&mut bob, "lobby", "k").await["offset"], 2);
    assert_eq!(posted(&mut bob, "den", "k").await["offset"], 1);
}

#[tokio::test]
async fn a_join_begins_where_it_asks_to() {
    let server = Server::start().await;
    let mut ada = Client::full(&server, json!({"lobby": 0})).await;
    let mut replies = vec![Value::Null];
    for number in 1..=5 {
        replies.push(posted(&mut ada, "lobby", &format!("k-{number}")).await);
    }
    let pos = |number: usize| replies[number]["pos"].clone();
    for (ask, first) in [
        (json!({}), 6),
        (json!({"after": 2}), 3),
        (json!({"after": pos(2)}), 3),
        (json!({"after": 0}), 1),
        (json!({"after": pos(5)}), 6),
        (json!({"last": 2}), 4),
        (json!({"last": 0}), 6),
        (json!({"last": 1_000_000_000_000_u64}), 1),
        (json!({"after": null, "last": null, "more": []}), 6),
    ] {
        let mut bob = Client::full(&server, json!({})).await;
        let mut request = ask.clone();
        request["room"] = json!("lobby");
        let reply = bob.ask("join", request).await;
        assert_eq!(
            (&reply["ok"], &reply["oldest"], &reply["head"]),
            (&json!(true), &json!(1), &json!(5)),
            "{ask}"
        );
        if 1 < first {
            assert_eq!(reply["pos"], pos(first - 1), "{ask}");
        }
        for number in first..=5 {
            assert_eq!(bob.expect("message").await["offset"], number, "{ask}");
        }
        assert_eq!(bob.ask("history", json!({"room": "lobby", "limit": 1})).await["head"], 5);
    }
}

#[tokio::test]
async fn the_reply_to_join_comes_before_the_first_entry_and_before_history_lost() {
    let server = Server::start().await;
    let mut ada = Client::full(&server, json!({"lobby": 0})).await;
    for number in 1..=3 {
        posted(&mut ada, "lobby", &format!("k-{number}")).await;
    }
    let mut bob = Client::full(&server, json!({})).await;
    for _ in 0..50 {
        let id = bob.request("join", &[r#"{"room":"lobby","after":0}"#], &[]).await;
        assert!(matches!(bob.next().await, Received::Ack { id: of, .. } if of == id));
        for number in 1..=3 {
            assert_eq!(bob.expect("message").await["offset"], number);
        }
        let id = bob.request("join", &[r#"{"room":"lobby","after":9}"#], &[]).await;
        assert!(matches!(bob.next().await, Received::Ack { id: of, .. } if of == id));
        let lost = bob.expect("history_lost").await;
        assert_eq!((&lost["room"], &lost["oldest"], &lost["head"]), (&json!("lobby"), &json!(1), &json!(3)));
        assert!(lost["pos"].is_string());
        for number in 1..=3 {
            assert_eq!(bob.expect("message").await["offset"], number);
        }
    }
}

#[tokio::test]
async fn a_position_of_another_history_is_told() {
    let (server, other) = (Server::start().await, Server::start().await);
    let mut elsewhere = Client::full(&other, json!({"lobby": 0})).await;
    let foreign = posted(&mut elsewhere, "lobby", "k").await["pos"].clone();
    let mut ada = Client::full(&server, json!({"lobby": 0})).await;
    for number in 1..=2 {
        posted(&mut ada, "lobby", &format!("k-{number}")).await;
    }
    let mut bob = Client::full(&server, json!({"lobby": foreign})).await;
    assert_eq!(bob.expect("history_lost").await["oldest"], 1);
    assert_eq!(bob.expect("message").await["offset"], 1);
    assert_eq!(bob.expect("message").await["offset"], 2);
}

#[tokio::test]
async fn auth_rooms_are_joined_from_the_start_each_at_its_place() {
    let server = Server::start().await;
    let mut ada = Client::full(&server, json!({"a": 0, "b": 0, "c": 0})).await;
    let mut pos = Value::Null;
    for number in 1..=3 {
        for room in ["a", "b", "c"] {
            let reply = posted(&mut ada, room, &format!("k-{number}")).await;
            if (room, number) == ("b", 2) {
                pos = reply["pos"].clone();
            }
        }
    }
    let mut bob = Client::full(&server, json!({"a": 1, "b": pos, "c": 3})).await;
    let mut seen: Vec<(String, u64)> = Vec::new();
    for _ in 0..3 {
        let message = bob.expect("message").await;
        seen.push((message["room"].as_str().unwrap().to_owned(), message["offset"].as_u64().unwrap()));
    }
    seen.sort();
    assert_eq!(seen, [("a".into(), 2), ("a".into(), 3), ("b".into(), 3)]);
    for room in ["a", "b", "c"] {
        server.end(room).await;
        assert_eq!(bob.rest().await, []);
    }
}

#[tokio::test]
async fn after_the_reply_to_leave_nothing_of_the_room_comes() {
    let server = Server::start().await;
    let mut ada = Client::full(&server, json!({"lobby": 0, "den": 0})).await;
    let mut bob = Client::full(&server, json!({"lobby": 0, "den": 0})).await;
    posted(&mut ada, "lobby", "k-1").await;
    assert_eq!(bob.expect("message").await["room"], "lobby");
    assert_eq!(bob.ask("leave", json!({"room": "lobby"})).await, json!({"ok": true}));
    assert_eq!(bob.ask("leave", json!({"room": "never joined"})).await, json!({"ok": true}));
    assert_eq!(code(&bob.ask("post", post("lobby", "k", "x")).await), ("not_joined", false));
    posted(&mut ada, "lobby", "k-2").await;
    server.end("den").await;
    assert_eq!(bob.rest().await, []);
    // And back again, where it left.
    bob.ask("join", json!({"room": "lobby", "after": 1})).await;
    assert_eq!(bob.expect("message").await["offset"], 2);
}

/// What was taken from the log and waits for a full link is of the old place, too.
#[tokio::test]
async fn nothing_that_was_waiting_for_the_link_follows_a_leave_or_a_move() {
    let server = Server::start().await;
    let mut ada = Client::full(&server, json!({"lobby": 0})).await;
    // Several fit into one write, so that some of those that were pulled together have to wait.
    let large = "x".repeat(3_000);
    for number in 1..=400 {
        let reply = ada.ask("post", post("lobby", &format!("k-{number}"), &large)).await;
        assert_eq!(reply["ok"], true);
    }
    for _ in 0..10 {
        let mut bob = Client::small(&server, &json!({"rooms": {"lobby": 0}})).await;
        bob.expect("message").await;
        let moved = bob.request("join", &[r#"{"room":"lobby","after":200}"#], &[]).await;
        let mut last = 1;
        loop {
            match bob.next().await {
                Received::Ack { id, .. } if id == moved => break,
                Received::Event { args, .. } => {
                    last += 1;
                    assert_eq!(args[0]["offset"], last);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(bob.expect("message").await["offset"], 201);
        let left = bob.request("leave", &[r#"{"room":"lobby"}"#], &[]).await;
        while !matches!(bob.next().await, Received::Ack { id, .. } if id == left) {}
        bob.ask("join", json!({"room": "den", "after": 0})).await;
        server.end("den").await;
        assert_eq!(bob.rest().await, []);
    }
}

#[tokio::test]
async fn a_request_with_wrong_fields_is_refused_and_the_field_is_named() {
    let server = Server::start().await;
    let mut ada = Client::full(&server, json!({"lobby": 0})).await;
    for (name, request, named) in [
        ("join", json!("lobby"), "request"),
        ("join", json!(null), "request"),
        ("join", json!({}), "`room`"),
        ("join", json!({"room": 5}), "`room`"),
        ("join", json!({"room": ""}), "`room`"),
        ("join", json!({"room": "x".repeat(129)}), "`room`"),
        ("join", json!({"room": "a\nb"}), "`room`"),
        ("join", json!({"room": "cafe\u{301}"}), "`room`"),
        ("join", json!({"room": "dm:x"}), "`room`"),
        ("join", json!({"room": "~x"}), "`room`"),
        ("join", json!({"room": "lobby", "after": "1.2"}), "`after`"),
        ("join", json!({"room": "lobby", "after": -1}), "`after`"),
        ("join", json!({"room": "lobby", "after": 1_u64 << 53}), "`after`"),
        ("join", json!({"room": "lobby", "after": []}), "`after`"),
        ("join", json!({"room": "lobby", "last": -1}), "`last`"),
        ("join", json!({"room": "lobby", "last": "5"}), "`last`"),
        ("join", json!({"room": "lobby", "after": 1, "last": 1}), "`last`"),
        ("leave", json!({}), "`room`"),
        ("post", json!({"room": "lobby", "content": 1}), "`id`"),
        ("post", json!({"room": "lobby", "content": 1, "id": 7}), "`id`"),
        ("post", json!({"room": "lobby", "content": 1, "id": ""}), "`id`"),
        ("post", json!({"room": "lobby", "content": 1, "id": "x".repeat(129)}), "`id`"),
        ("post", json!({"room": "lobby", "id": "k"}), "`content`"),
        ("post", json!({"id": "k", "content": 1}), "`room`"),
        ("history", json!({"room": "lobby", "before": "x"}), "`before`"),
        ("history", json!({"room": "lobby", "before": 1_u64 << 53}), "`before`"),
        ("history", json!({"room": "lobby", "limit": 0}), "`limit`"),
        ("history", json!({"room": "lobby", "limit": 1.5}), "`limit`"),
    ] {
        let reply = ada.ask(name, request.clone()).await;
        assert_eq!(code(&reply), ("bad_request", false), "{name} {request}");
        assert!(reply["error"]["message"].as_str().unwrap().contains(named), "{name} {request} {reply}");
    }
    // A request without any argument, too.
    assert_eq!(code(&ada.ask_raw("join", &[], &[]).await.0), ("bad_request", false));
    posted(&mut ada, "lobby", &"ü".repeat(128)).await;
}

#[tokio::test]
async fn content_that_is_too_large_is_refused_and_the_limit_itself_is_not() {
    let server = Server::start().await;
    let mut ada = Client::full(&server, json!({"lobby": 0})).await;
    let fits = "x".repeat(64 * 1024 - 2);
    assert_eq!(ada.ask("post", post("lobby", "fits", &fits)).await["ok"], true);
    let reply = ada.ask("post", post("lobby", "does not", &format!("{fits}x"))).await;
    assert_eq!(code(&reply), ("too_large", false));
    let request = r#"{"room":"lobby","id":"b","content":{"_placeholder":true,"num":0}}"#;
    let (reply, _) = ada.ask_raw("post", &[request], &[&[0; 64 * 1024]]).await;
    assert_eq!(code(&reply), ("too_large", false));
}

#[tokio::test]
async fn a_request_that_there_is_not_is_answered_as_unsupported_or_ignored() {
    let server = Server::start().await;
    let mut ada = Client::full(&server, json!({"lobby": 0})).await;
    for name in ["chat message", "no such event", ""] {
        ada.emit(name, &[json!({"room": "lobby"})]).await;
        assert_eq!(code(&ada.ask(name, json!({"room": "lobby"})).await), ("unsupported", false), "{name}");
    }
    server.end("lobby").await;
    assert_eq!(ada.rest().await, []);
}

#[tokio::test]
async fn requests_without_an_ack_take_effect_where_they_can_and_never_hurt() {
    let server = Server::start().await;
    let mut ada = Client::full(&server, json!({})).await;
    for (name, args) in [
        ("history", vec![json!({"room": "lobby"})]),
        ("join", vec![json!({})]),
        ("join", vec![]),
        ("post", vec![json!([]), json!("more")]),
        ("post", vec![post("not joined", "k", "lost")]),
        ("leave", vec![json!(7)]),
        ("join", vec![json!({"room": "lobby"})]),
        ("post", vec![post("lobby", "k-1", "one")]),
        ("post", vec![post("lobby", "k-1", "other")]),
        ("post", vec![post("lobby", "k-2", "two")]),
    ] {
        ada.emit(name, &args).await;
    }
    assert_eq!(ada.expect("message").await["content"], "one");
    assert_eq!(ada.expect("message").await["content"], "two");
}

#[tokio::test]
async fn a_client_over_its_rate_is_told_when_to_come_again() {
    let backends = Backends::from_store(MemoryStore::new());
    let server = Server::with(Chat::builder(backends), at_most(2, 6)).await;
    // Its CONNECT is one of them.
    let mut ada = Client::full(&server, json!({"lobby": 0})).await;
    let mut limited = None;
    for number in 0..6 {
        let reply = ada.ask("post", post("lobby", &format!("k-{number}"), "x")).await;
        if reply["ok"] == false {
            assert_eq!(number, 5);
            limited = Some(reply);
        }
    }
    let limited = limited.unwrap();
    assert_eq!(code(&limited), ("rate_limited", true));
    let wait = limited["error"]["retryAfterMs"].as_u64().unwrap();
    assert!((1..=501).contains(&wait), "{wait}");
    // What nobody can be told about waits its turn instead.
    ada.emit("post", &[post("lobby", "patient", "patient")]).await;
    for _ in 0..5 {
        ada.expect("message").await;
    }
    assert_eq!(ada.expect("message").await["content"], "patient");
    // Another connection has a rate of its own.
    let mut bob = Client::full(&server, json!({"lobby": 0})).await;
    posted(&mut bob, "lobby", "k").await;
}

#[tokio::test]
async fn a_client_that_connects_again_on_its_connection_has_no_fresh_allowance() {
    let backends = Backends::from_store(MemoryStore::new());
    let server = Server::with(Chat::builder(backends), at_most(1, 4)).await;
    let mut ada = Client::full(&server, json!({"lobby": 0})).await;
    for number in 0..3 {
        posted(&mut ada, "lobby", &format!("k-{number}")).await;
    }
    // All at once: nothing is earned between the CONNECT, which waits its turn, and the request.
    ada.come_again(json!({"rooms": {"lobby": 0}})).await;
    let request = ada.request("post", &[&post("lobby", "k-3", "x").to_string()], &[]).await;
    assert_eq!(code(&ada.answer(request).await.0), ("rate_limited", true));
}

#[tokio::test]
async fn an_entry_that_is_no_message_has_an_offset_and_is_not_sent() {
    let server = Server::start().await;
    let mut ada = Client::full(&server, json!({"lobby": 0})).await;
    posted(&mut ada, "lobby", "k-1").await;
    let author = Author { id: UserId::new("app").unwrap(), name: DisplayName::new("App").unwrap() };
    let key = MessageKey::new("fact").unwrap();
    server.post("lobby", Draft { kind: Kind::Fact, author, key, body: Body::text("1") }).await;
    posted(&mut ada, "lobby", "k-3").await;
    let mut bob = Client::full(&server, json!({"lobby": 1})).await;
    assert_eq!(ada.expect("message").await["offset"], 1);
    for client in [&mut ada, &mut bob] {
        assert_eq!(client.expect("message").await["offset"], 3);
    }
    let page = bob.ask("history", json!({"room": "lobby", "limit": 2})).await;
    let offsets: Vec<_> =
        page["messages"].as_array().unwrap().iter().map(|message| &message["offset"]).collect();
    assert_eq!(offsets, [1, 3]);
    server.end("lobby").await;
    for client in [&mut ada, &mut bob] {
        assert_eq!(client.rest().await, []);
    }
}

#[tokio::test]
async fn a_redacted_message_keeps_its_place_without_content() {
    let server = Server::start().await;
    let mut ada = Client::full(&server, json!({"lobby": 0})).await;
    let first = posted(&mut ada, "lobby", "k-1").await;
    posted(&mut ada, "lobby", "k-2").await;
    server.redact("lobby", first["pos"].as_str().unwrap()).await;
    let mut bob = Client::full(&server, json!({"lobby": 0})).await;
    let event = bob.expect("message").await;
    assert_eq!(
        (&event["offset"], &event["content"], &event["redacted"]),
        (&json!(1), &Value::Null, &json!(true))
    );
    let next = bob.expect("message").await;
    assert_eq!((&next["offset"], next.get("redacted")), (&json!(2), None));
    let page = bob.ask("history", json!({"room": "lobby"})).await;
    assert_eq!(page["messages"], json!([event, next]));
}

#[tokio::test]
async fn both_protocols_share_the_room() {
    let server = Server::start().await;
    let mut tutorial = Client::tutorial(&server).await;
    let mut full = Client::full(&server, json!({"general": 0})).await;
    tutorial.say("from the tutorial", "socketid-0").await;
    posted(&mut full, "general", "from the full one").await;
    let message = full.expect("message").await;
    assert_eq!(message["content"], "from the tutorial");
    // Its guests share a scope, so a digest is told in place of the id.
    assert!(message["id"].as_str().is_some_and(|id| !id.contains("socketid-0")), "{message}");
    assert_eq!(full.expect("message").await["content"], "from the full one");
    assert_eq!(tutorial.heard().await, (json!("from the tutorial"), 1));
    assert_eq!(tutorial.heard().await, (json!("from the full one"), 2));
}
