//! The tutorial's protocol, and the traps of the tutorial's own server.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chat_core::{
    Action, Author, Authority, Backends, Body, Chat, DisplayName, Draft, Kind, MemoryStore, MessageKey,
    RoomId, StoreResult, UserId, Who,
};
use serde_json::{Value, json};

use crate::client::{Client, Received};
use crate::server::{Server, at_most, unlimited};

async fn tutorial_at(server: &Server, offset: Value) -> Client {
    Client::connect(server, json!({ "serverOffset": offset })).await
}

#[tokio::test]
async fn a_message_reaches_everyone_in_the_room_the_sender_included_once_and_in_order() {
    let server = Server::start().await;
    let mut ada = Client::tutorial(&server).await;
    let mut bob = Client::tutorial(&server).await;
    for (number, text) in ["one", "two", "three"].into_iter().enumerate() {
        let reply = ada.say(text, &format!("ada-{number}")).await;
        assert_eq!(
            (&reply["ok"], &reply["offset"], &reply["duplicate"]),
            (&json!(true), &json!(number + 1), &json!(false))
        );
    }
    server.end("general").await;
    for client in [&mut ada, &mut bob] {
        for (number, text) in ["one", "two", "three"].into_iter().enumerate() {
            assert_eq!(client.heard().await, (json!(text), number as u64 + 1));
        }
        assert_eq!(client.rest().await, []);
    }
}

#[tokio::test]
async fn a_client_that_comes_back_receives_what_it_missed_and_nothing_else() {
    for (offset, first) in [(json!(3), 4), (json!("3"), 4), (json!(0), 1), (json!(5), 6)] {
        let server = Server::start().await;
        let mut ada = Client::tutorial(&server).await;
        for number in 1..=5 {
            ada.say(&number.to_string(), &format!("ada-{number}")).await;
        }
        let mut bob = tutorial_at(&server, offset).await;
        for number in first..=5 {
            assert_eq!(bob.heard().await, (json!(number.to_string()), number));
        }
        server.end("general").await;
        assert_eq!(bob.rest().await, []);
    }
}

#[tokio::test]
async fn a_server_offset_that_is_none_counts_as_absent() {
    for offset in [
        json!(-1),
        json!(1.5),
        json!({"a": 1}),
        json!([1]),
        json!("one"),
        json!(""),
        json!(true),
        Value::Null,
    ] {
        let server = Server::start().await;
        Client::tutorial(&server).await.say("hello", "ada-0").await;
        let mut bob = tutorial_at(&server, offset.clone()).await;
        assert_eq!(bob.heard().await, (json!("hello"), 1), "{offset}");
        server.end("general").await;
        assert_eq!(bob.rest().await, [], "{offset}");
    }
}

#[tokio::test]
async fn a_server_offset_above_the_head_is_told_and_the_room_follows_from_the_oldest() {
    for offset in [json!(2), json!("700"), json!((1_u64 << 53) - 1)] {
        let server = Server::start().await;
        Client::tutorial(&server).await.say("hello", "ada-0").await;
        let mut bob = tutorial_at(&server, offset).await;
        let lost = bob.expect("history_lost").await;
        assert_eq!(
            (&lost["room"], &lost["oldest"], &lost["head"]),
            (&json!("general"), &json!(1), &json!(1))
        );
        assert_eq!(bob.heard().await, (json!("hello"), 1));
        server.end("general").await;
        assert_eq!(bob.rest().await, []);
    }
}

#[tokio::test]
async fn history_that_was_trimmed_is_told_and_the_rest_follows() {
    let store = MemoryStore::new();
    let server = Server::over(Backends::from_store(store.clone())).await;
    let mut ada = Client::tutorial(&server).await;
    let mut replies = Vec::new();
    for number in 1..=4 {
        replies.push(ada.say(&number.to_string(), &format!("ada-{number}")).await);
    }
    server.trim("general", replies[1]["pos"].as_str().unwrap()).await;

    // On another node, which has nothing in memory that the log has forgotten.
    let server = Server::over(Backends::from_store(store)).await;
    let mut bob = tutorial_at(&server, json!(1)).await;
    let lost = bob.expect("history_lost").await;
    assert_eq!((&lost["oldest"], &lost["head"]), (&json!(3), &json!(4)));
    assert_eq!(bob.heard().await, (json!("3"), 3));
    assert_eq!(bob.heard().await, (json!("4"), 4));
}

#[tokio::test]
async fn two_clients_that_typed_offline_both_have_their_undefined_0_stored() {
    let server = Server::start().await;
    let secret = json!({"guest": "the secret of one person"});
    for auths in [[json!({}), json!({})], [secret.clone(), secret]] {
        let mut offsets = Vec::new();
        for (number, auth) in auths.into_iter().enumerate() {
            let mut tab = Client::connect(&server, auth).await;
            let first = tab.say(&format!("tab {number}"), "undefined-0").await;
            assert_eq!((&first["ok"], &first["duplicate"]), (&json!(true), &json!(false)));
            let again = tab.say(&format!("tab {number}"), "undefined-0").await;
            assert_eq!((&again["offset"], &again["duplicate"]), (&first["offset"], &json!(true)));
            offsets.push(first["offset"].clone());
        }
        assert_ne!(offsets[0], offsets[1]);
    }
}

#[tokio::test]
async fn a_retry_over_another_connection_is_stored_once() {
    let server = Server::start().await;
    let secret = json!({"guest": "the secret of one person"});
    for (auth, key) in [(json!({}), "socketid-0"), (secret, "socketid-1")] {
        let mut first = Client::connect(&server, auth.clone()).await;
        let stored = first.say("once", key).await;
        first.cut();
        let repeated = Client::connect(&server, auth).await.say("once", key).await;
        assert_eq!((&repeated["ok"], &repeated["duplicate"]), (&json!(true), &json!(true)));
        assert_eq!(repeated["offset"], stored["offset"]);
    }
}

#[tokio::test]
async fn the_same_key_with_other_text_is_refused_and_not_swallowed() {
    let server = Server::start().await;
    let mut ada = Client::tutorial(&server).await;
    ada.say("one", "k").await;
    let reply = ada.say("two", "k").await;
    assert_eq!(reply["ok"], false);
    assert_eq!((&reply["error"]["code"], &reply["error"]["retryable"]), (&json!("conflict"), &json!(false)));
    assert_eq!(ada.heard().await, (json!("one"), 1));
    server.end("general").await;
    assert_eq!(ada.rest().await, []);
}

#[tokio::test]
async fn guests_with_secrets_do_not_share_keys_with_anybody() {
    let server = Server::start().await;
    let mut offsets = Vec::new();
    for auth in [json!({}), json!({"guest": "one secret of ada"}), json!({"guest": "another one of bob"})] {
        let reply = Client::connect(&server, auth).await.say("hi", "k").await;
        assert_eq!(reply["duplicate"], false);
        offsets.push(reply["offset"].clone());
    }
    assert_eq!(offsets, [1, 2, 3]);
}

#[tokio::test]
async fn odd_arguments_never_hurt() {
    let server = Server::start().await;
    let mut ada = Client::tutorial(&server).await;
    // Without ack.
    for args in [
        vec![],
        vec!["null"],
        vec!["{}", "{}"],
        vec!["[]", "5", "\"more\"", "{}"],
        vec!["\"x\"", "true"],
        vec!["\"x\"", "\"\""],
        vec!["1e400"],
        vec!["\"\\ud800\"", "\"\\ud800\""],
    ] {
        ada.send("chat message", &args, &[], None).await;
    }
    for event in ["post", "chat", "", "message"] {
        ada.send(event, &["1"], &[], None).await;
    }
    let long = Value::from("x".repeat(129)).to_string();
    ada.send("chat message", &["1", &long], &[], None).await;
    // Its answer comes after all of them.
    ada.ask("nothing of that name", json!(1)).await;
    server.end("general").await;
    let received = ada.rest().await.into_iter().map(|received| match received {
        Received::Event { raw, .. } => raw,
        other => panic!("{other:?}"),
    });
    assert_eq!(
        received.collect::<Vec<_>>(),
        [
            r#"["chat message",null,1]"#,
            r#"["chat message",{},2]"#,
            r#"["chat message",[],3]"#,
            r#"["chat message","x",4]"#,
            r#"["chat message",1e400,5]"#,
            r#"["chat message","\ud800",6]"#,
        ]
    );
}

#[tokio::test]
async fn what_can_never_be_stored_is_answered_with_ok_false() {
    let server = Server::start().await;
    let mut ada = Client::tutorial(&server).await;
    let long = Value::from("x".repeat(129)).to_string();
    let large = Value::from("x".repeat(64 * 1024)).to_string();
    let deep = format!("{}{}", "[".repeat(101), "]".repeat(101));
    for (args, code) in [
        (vec![], "bad_request"),
        (vec!["1", "\"\""], "bad_request"),
        (vec!["1", long.as_str()], "bad_request"),
        (vec![large.as_str(), "\"k\""], "too_large"),
        (vec![deep.as_str(), "\"k\""], "bad_request"),
        (vec![r#"{"_placeholder":true,"num":0}"#, "\"k\""], "bad_request"),
    ] {
        let (reply, _) = ada.ask_raw("chat message", &args, &[]).await;
        assert_eq!((&reply["ok"], &reply["error"]["code"]), (&json!(false), &json!(code)));
        assert_eq!(reply["error"]["retryable"], false);
    }
    for event in ["join", "post", "history", "no such event"] {
        assert_eq!(ada.ask(event, json!({"room": "general"})).await["error"]["code"], "unsupported");
    }
    server.end("general").await;
    assert_eq!(ada.rest().await, []);
}

#[tokio::test]
async fn a_callback_where_the_id_belongs_is_just_a_callback() {
    let server = Server::start().await;
    let mut ada = Client::tutorial(&server).await;
    let (one, _) = ada.ask_raw("chat message", &["\"same\""], &[]).await;
    let (two, _) = ada.ask_raw("chat message", &["\"same\""], &[]).await;
    assert_eq!((&one["offset"], &two["offset"]), (&json!(1), &json!(2)));
}

#[tokio::test]
async fn posts_of_one_connection_keep_their_order() {
    let server = Server::start().await;
    let mut ada = Client::tutorial(&server).await;
    let mut bob = Client::tutorial(&server).await;
    for number in 0..300 {
        ada.emit("chat message", &[json!(number), json!(format!("ada-{number}"))]).await;
    }
    for number in 0..300_u64 {
        assert_eq!(bob.heard().await, (json!(number), number + 1));
    }
}

#[tokio::test]
async fn posts_beyond_the_rate_wait_and_are_not_lost() {
    let backends = Backends::from_store(MemoryStore::new());
    let server = Server::with(Chat::builder(backends), at_most(200, 10)).await;
    let mut ada = Client::tutorial(&server).await;
    let began = tokio::time::Instant::now();
    for number in 0..50 {
        ada.emit("chat message", &[json!(number)]).await;
    }
    for number in 0..50_u64 {
        assert_eq!(ada.heard().await, (json!(number), number + 1));
    }
    assert!(std::time::Duration::from_millis(195) <= began.elapsed(), "40 of them at 200 a second");
}

#[tokio::test]
async fn entries_that_are_no_messages_and_what_was_redacted_are_skipped() {
    let server = Server::start().await;
    let mut ada = Client::tutorial(&server).await;
    let one = ada.say("one", "k-1").await;
    let author = Author { id: UserId::new("app").unwrap(), name: DisplayName::new("App").unwrap() };
    let key = MessageKey::new("fact").unwrap();
    server.post("general", Draft { kind: Kind::Fact, author, key, body: Body::text("1") }).await;
    ada.say("three", "k-3").await;
    assert_eq!(ada.heard().await, (json!("one"), 1));
    assert_eq!(ada.heard().await, (json!("three"), 3));

    server.redact("general", one["pos"].as_str().unwrap()).await;
    let mut bob = Client::tutorial(&server).await;
    assert_eq!(bob.heard().await, (json!("three"), 3));
    server.end("general").await;
    assert_eq!(bob.rest().await, []);
}

#[tokio::test]
async fn nobody_learns_the_ids_of_guests_that_share_a_scope() {
    let server = Server::start().await;
    let mut eve = Client::full(&server, json!({ "general": 0 })).await;
    let mut ada = Client::tutorial(&server).await;
    ada.say("hello", "tQhJmkCC4xpVPkZ2jX6Ocg-0").await;
    let raw = match eve.next().await {
        Received::Event { raw, .. } => raw,
        other => panic!("{other:?}"),
    };
    assert!(!raw.contains("tQhJ"), "{raw}");
    let page = eve.ask("history", json!({ "room": "general" })).await;
    assert_eq!(page["messages"][0]["content"], "hello");
    assert!(!page.to_string().contains("tQhJ"), "{page}");
}

/// Writes down who was asked about.
#[derive(Clone, Debug, Default)]
struct Doorman {
    asked: Arc<Mutex<Vec<(String, Action)>>>,
}

#[async_trait]
impl Authority for Doorman {
    async fn allows(&self, who: &Who, _: &RoomId, action: Action) -> StoreResult<bool> {
        self.asked.lock().unwrap().push((who.id.as_str().to_owned(), action));
        Ok(true)
    }
}

#[tokio::test]
async fn the_authority_is_asked_about_the_same_guest_on_join_and_on_post() {
    let doorman = Doorman::default();
    let chat = Chat::builder(Backends::from_store(MemoryStore::new())).authority(doorman.clone());
    let server = Server::with(chat, unlimited()).await;
    let mut ada = Client::tutorial(&server).await;
    assert_eq!(ada.say("hello", "k-0").await["ok"], true);
    let asked = doorman.asked.lock().unwrap().clone();
    let [(joined, Action::Join), (posted, Action::Post)] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!(joined, posted);
}
