//! The store is away, or does not say whether it has stored: nobody is told a lie, and everybody goes on when it is back.

use std::sync::Arc;
use std::time::Duration;

use chat_core::fault::{FaultRates, Faults};
use chat_core::{Backends, Chat, MemoryStore};
use serde_json::{Value, json};

use crate::client::{Attempt, Client};
use crate::server::{Server, unlimited};
use crate::store::{Calls, counted};

fn faulty() -> (Backends, Faults, Arc<Calls>) {
    let faults = Faults::new(1, FaultRates::NONE);
    let (backends, calls) = counted(faults.wrap(Backends::from_store(MemoryStore::new())));
    (backends, faults, calls)
}

fn unavailable(reply: &Value) {
    assert_eq!((&reply["ok"], &reply["error"]["code"]), (&json!(false), &json!("unavailable")), "{reply}");
    assert_eq!(reply["error"]["retryable"], true);
}

/// Requests of one connection are handled in turn, so the answer to the second shows that the first got none.
async fn assert_unanswered(client: &mut Client, args: &[&str]) {
    let unanswered = client.request("chat message", args, &[]).await;
    let answered = client.request("no such event", &[], &[]).await;
    client.answer(answered).await;
    assert!(!client.has_answer(unanswered));
}

#[tokio::test]
async fn in_the_tutorials_protocol_a_post_that_may_succeed_later_is_not_answered() {
    let (backends, faults, _) = faulty();
    let server = Server::over(backends).await;
    let mut ada = Client::tutorial(&server).await;
    faults.outage();
    assert_unanswered(&mut ada, &["\"hi\"", "\"k\""]).await;
    faults.heal();
    let reply = ada.say("hi", "k").await;
    assert_eq!(
        (&reply["ok"], &reply["offset"], &reply["duplicate"]),
        (&json!(true), &json!(1), &json!(false))
    );
    server.end("general").await;
    assert_eq!(ada.heard().await, (json!("hi"), 1));
    assert_eq!(ada.rest().await, []);
}

#[tokio::test]
async fn a_post_of_which_the_store_does_not_say_whether_it_is_stored_is_stored_once() {
    let (backends, faults, _) = faulty();
    let server = Server::over(backends).await;
    let mut tutorial = Client::tutorial(&server).await;
    let mut full = Client::full(&server, json!({"general": 0})).await;
    for number in 0..10 {
        faults.inflict(FaultRates { unconfirmed: 1.0, ..FaultRates::NONE });
        let text = format!("\"{number}\"");
        let post = json!({"room": "general", "id": text, "content": number});
        assert_unanswered(&mut tutorial, &[&text, &text]).await;
        unavailable(&full.ask("post", post.clone()).await);
        faults.heal();
        assert_eq!(tutorial.ask_raw("chat message", &[&text, &text], &[]).await.0["ok"], true);
        assert_eq!(full.ask("post", post).await["ok"], true);
        let mut both = [tutorial.heard().await.0, tutorial.heard().await.0];
        both.sort_by_key(Value::is_string);
        assert_eq!(both, [json!(number), json!(number.to_string())]);
        full.expect("message").await;
        full.expect("message").await;
    }
    server.end("general").await;
    assert_eq!(tutorial.rest().await, []);
    assert_eq!(full.rest().await, []);
}

#[tokio::test]
async fn in_the_full_protocol_every_request_says_that_the_store_is_away() {
    let (backends, faults, _) = faulty();
    let server = Server::over(backends).await;
    let mut ada = Client::full(&server, json!({"lobby": 0})).await;
    let post = json!({"room": "lobby", "id": "k", "content": "hi"});
    faults.outage();
    unavailable(&ada.ask("post", post.clone()).await);
    unavailable(&ada.ask("join", json!({"room": "den"})).await);
    unavailable(&ada.ask("history", json!({"room": "lobby"})).await);
    unavailable(&ada.ask("leave", json!({"room": "den"})).await);
    unavailable(&ada.ask("rooms", json!({})).await);
    unavailable(&ada.ask("direct", json!({"user": "bob"})).await);
    unavailable(&ada.ask("read", json!({"room": "lobby", "offset": 1})).await);
    faults.heal();
    assert_eq!(ada.ask("post", post).await["ok"], true);
    assert_eq!(ada.expect("message").await["content"], "hi");
    assert_eq!(ada.ask("join", json!({"room": "den"})).await["ok"], true);
}

#[tokio::test]
async fn a_store_that_says_nothing_counts_as_away() {
    for protocol in ["tutorial", "full"] {
        let (backends, faults, _) = faulty();
        let mut settings = unlimited();
        settings.request_timeout = Duration::from_millis(50);
        let server = Server::with(Chat::builder(backends), settings).await;
        let mut tutorial = Client::tutorial(&server).await;
        let mut full = Client::full(&server, json!({"lobby": 0})).await;
        faults.crash();
        match protocol {
            "tutorial" => assert_unanswered(&mut tutorial, &["1", "\"k\""]).await,
            _ => {
                unavailable(&full.ask("post", json!({"room": "lobby", "id": "k", "content": 1})).await);
                unavailable(&full.ask("history", json!({"room": "lobby"})).await);
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_connects_meanwhile_waits_and_is_let_in_when_the_store_is_back() {
    for auth in ["{}", r#"{"rooms":{"lobby":5}}"#] {
        let (backends, faults, calls) = faulty();
        let server = Arc::new(Server::over(backends).await);
        faults.outage();
        let client = tokio::spawn({
            let server = server.clone();
            async move { Client::attempt(&server, auth).await }
        });
        calls.identity_asked(2).await;
        assert!(!client.is_finished());
        faults.heal();
        let Attempt::Connected(_) = client.await.unwrap() else { panic!("it was let in") };
    }
}

#[tokio::test]
async fn a_client_that_cannot_be_let_in_in_time_is_closed_without_a_word_so_that_it_comes_back() {
    let (backends, faults, _) = faulty();
    let timeout = Duration::from_millis(200);
    let server = Server::with_connect_timeout(Chat::builder(backends), unlimited(), timeout).await;
    // The first client brings what all need from the store; the second only fails to join.
    for auth in ["{}", r#"{"rooms":{"lobby":5}}"#] {
        faults.outage();
        let Attempt::Closed = Client::attempt(&server, auth).await else {
            panic!("neither let in nor refused")
        };
        faults.heal();
        Client::tutorial(&server).await;
    }
}

#[tokio::test]
async fn a_reader_that_was_behind_when_the_store_went_away_catches_up_when_it_is_back() {
    let (backends, faults, calls) = faulty();
    let server = Server::over(backends).await;
    let mut ada = Client::tutorial(&server).await;
    for number in 1..=2_000 {
        ada.emit("chat message", &[json!(number)]).await;
    }
    for number in 1..=2_000_u64 {
        assert_eq!(ada.heard().await, (json!(number), number));
    }
    let mut bob = Client::small(&server, &json!({})).await;
    faults.outage();
    let tried = calls.reads() + 2;
    tokio::spawn(async move {
        calls.read(tried).await;
        faults.heal();
    });
    for number in 1..=2_000_u64 {
        assert_eq!(bob.heard().await, (json!(number), number));
    }
}

#[tokio::test]
async fn who_only_reads_is_let_in_while_nothing_can_be_stored_and_the_room_is_its_own_later() {
    let (backends, faults, _) = faulty();
    let server = Server::over(backends).await;
    let mut ada = Client::full(&server, json!({"lobby": 0})).await;
    assert_eq!(ada.ask("post", json!({"room": "lobby", "id": "k", "content": "hi"})).await["ok"], true);
    faults.inflict(FaultRates { refused: 1.0, ..FaultRates::NONE });
    let auth = json!({"guest": "0123456789abcdef", "rooms": {"lobby": 0}});
    let mut bob = Client::connect(&server, auth).await;
    assert_eq!(bob.expect("message").await["content"], "hi");
    assert_eq!(bob.ask("rooms", json!({})).await["rooms"], json!([]));
    faults.heal();
    let listed = async {
        while bob.ask("rooms", json!({})).await["rooms"] == json!([]) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::client::PATIENCE, listed).await.expect("it is tried again");
}
