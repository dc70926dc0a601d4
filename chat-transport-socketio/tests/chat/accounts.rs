//! Tokens, and what those are told whom moderation befalls.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{
    Action, Authority, Backends, Chat, Measure, MemoryStore, Reason, RoomId, StoreResult, Timestamp, UserId,
    Who,
};
use chat_transport_socketio::chat::{Account, Accounts, ChatSettings, Guests, Unverified};
use serde_json::{Value, json};

use crate::client::{Attempt, Client, Received};
use crate::server::{Server, unlimited};

/// Tokens that a test has made up.
#[derive(Debug, Default)]
struct Table {
    accounts: Mutex<BTreeMap<String, Account>>,
    is_away: AtomicBool,
}

#[async_trait]
impl Accounts for Table {
    async fn account(&self, token: &str) -> Result<Account, Unverified> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(Unverified::unavailable("the table is away"));
        }
        let account = self.accounts.lock().unwrap().get(token).cloned();
        account.ok_or_else(|| Unverified::rejected("it is not in the table: ask for another one"))
    }
}

impl Table {
    fn put(&self, token: &str, account: Account) {
        self.accounts.lock().unwrap().insert(token.to_owned(), account);
    }
}

/// Whoever has the role may manage, and nobody may enter what is closed.
#[derive(Debug)]
struct Roles;

#[async_trait]
impl Authority for Roles {
    async fn allows(&self, who: &Who, room: &RoomId, action: Action) -> StoreResult<bool> {
        Ok(match action {
            Action::Manage => who.roles.contain("moderator"),
            _ => room.as_str() != "closed",
        })
    }
}

fn account(id: &str) -> Account {
    Account::new(UserId::new(id).unwrap())
}

fn in_ms(millis: u64) -> Timestamp {
    Timestamp::from_millis(Timestamp::now().millis() + millis)
}

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

fn room(name: &str) -> Option<RoomId> {
    Some(RoomId::new(name).unwrap())
}

async fn serve(change: impl FnOnce(&mut ChatSettings)) -> (Server, Arc<Table>) {
    let table = Arc::new(Table::default());
    table.put("ada", account("ada").name(chat_core::DisplayName::new("Ada").unwrap()));
    table.put("bob", account("bob"));
    table.put("mod", account("mod").roles(["moderator".to_owned()]));
    let mut settings = unlimited();
    settings.accounts = Some(table.clone());
    change(&mut settings);
    let chat = Chat::builder(Backends::from_store(MemoryStore::new())).authority(Roles);
    (Server::with(chat, settings).await, table)
}

async fn with_token(server: &Server, token: &str, rooms: Value) -> Client {
    Client::connect(server, json!({"token": token, "rooms": rooms})).await
}

fn code(error: &Value) -> &str {
    error["data"]["code"].as_str().unwrap_or_else(|| panic!("{error}"))
}

#[tokio::test]
async fn whoever_shows_a_token_posts_as_its_account_whatever_else_it_says() {
    let (server, _) = serve(|_| {}).await;
    let mut seen = Client::full(&server, json!({"general": 0})).await;
    let auth = json!({"token": "ada", "guest": "0123456789abcdef", "name": "Bob", "rooms": {"general": 0}});
    let mut ada = Client::connect(&server, auth).await;
    let post = json!({"room": "general", "id": "k", "content": 1, "from": {"id": "bob"}, "author": "bob", "user": "bob"});
    assert_eq!(ada.ask("post", post).await["ok"], true);
    assert_eq!(seen.expect("message").await["from"], json!({"id": "ada", "name": "Ada"}));
    let mut bob = Client::connect(&server, json!({"token": "bob", "name": "Ada"})).await;
    assert_eq!(bob.say("hi", "k").await["ok"], true);
    let from = seen.expect("message").await["from"].clone();
    assert_eq!(from, json!({"id": "bob", "name": "bob"}), "the name of an account without one is its id");
    // The same key is another author's, so it is another message.
    assert_eq!(bob.say("hi", "k").await["duplicate"], true);
}

#[tokio::test]
async fn a_token_that_is_not_accepted_lets_nobody_in_not_even_as_a_guest() {
    let (server, table) = serve(|_| {}).await;
    table.put("guest", account("guest:abc"));
    table.put("shared", account("guest:*"));
    table.put("system", account("~chat"));
    table.put("expired", account("ada").expires(Timestamp::from_millis(1)));
    for token in [
        json!("nobody's"),
        json!(""),
        json!(7),
        json!({}),
        json!("x".repeat(10_000)),
        json!("guest"),
        json!("shared"),
        json!("system"),
        json!("expired"),
    ] {
        let error = Client::refused(&server, &json!({"token": token, "rooms": {}}).to_string()).await;
        assert_eq!((code(&error), &error["data"]["retryable"]), ("unauthorized", &json!(false)), "{error}");
        assert!(!error.to_string().contains("nobody's"), "the answer does not repeat the token: {error}");
    }
    // What only begins like it is somebody.
    table.put("Guest", account("Guest:abc"));
    with_token(&server, "Guest", json!({})).await;
    assert!(matches!(Client::attempt(&server, r#"{"token":null}"#).await, Attempt::Connected(_)));
}

#[tokio::test]
async fn where_guests_are_refused_whoever_has_no_token_is() {
    let (server, _) = serve(|settings| settings.guests = Guests::Refused).await;
    for auth in
        [json!({}), json!({"rooms": {}}), json!({"guest": "0123456789abcdef"}), json!({"token": null})]
    {
        assert_eq!(code(&Client::refused(&server, &auth.to_string()).await), "unauthorized");
    }
    with_token(&server, "ada", json!({})).await;
}

#[tokio::test]
async fn while_tokens_cannot_be_verified_a_client_waits_and_then_is_let_in() {
    let (server, table) = serve(|_| {}).await;
    table.is_away.store(true, Ordering::SeqCst);
    let auth = json!({"token": "ada", "rooms": {}}).to_string();
    let waiting = Client::attempt(&server, &auth);
    tokio::pin!(waiting);
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut waiting).await.is_err(), "it is answered");
    table.is_away.store(false, Ordering::SeqCst);
    let Attempt::Connected(mut ada) = waiting.await else { panic!("not let in") };
    table.is_away.store(true, Ordering::SeqCst);
    let reply = ada.ask("refresh", json!({"token": "ada"})).await;
    assert_eq!(
        (&reply["error"]["code"], &reply["error"]["retryable"]),
        (&json!("unavailable"), &json!(true))
    );
}

#[tokio::test]
async fn a_client_is_told_before_its_token_ends_and_signed_out_when_it_does() {
    let (server, table) = serve(|settings| settings.token_notice = Duration::from_millis(1_200)).await;
    for mut auth in [json!({"rooms": {"general": 0}}), json!({})] {
        let ends = in_ms(1_500);
        table.put("short", account("ada").expires(ends));
        auth["token"] = json!("short");
        let mut ada = Client::connect(&server, auth.clone()).await;
        assert_eq!(ada.expect("token_expiring").await, json!({"at": ends.millis()}));
        assert!(Timestamp::now() < ends);
        assert_eq!(ada.expect("signed_out").await, json!({"reason": "expired"}));
        assert!(ends <= Timestamp::now());
        assert_eq!(ada.next().await, Received::Disconnected);
        assert_eq!(code(&Client::refused(&server, &auth.to_string()).await), "unauthorized");
    }
}

#[tokio::test]
async fn another_token_of_the_same_account_keeps_a_client_signed_in() {
    let (server, table) = serve(|settings| settings.token_notice = Duration::from_millis(1_000)).await;
    let first = in_ms(1_000);
    table.put("first", account("ada").expires(first));
    let mut ada = with_token(&server, "first", json!({"general": 0})).await;
    assert_eq!(ada.expect("token_expiring").await["at"], first.millis());
    for wrong in [json!({"token": "bob"}), json!({"token": "nobody's"}), json!({"token": 7}), json!({})] {
        let reply = ada.ask("refresh", wrong.clone()).await;
        assert_eq!(reply["ok"], false, "{wrong}");
        assert_ne!(reply["error"]["code"], "unavailable", "{wrong}");
    }
    let second = in_ms(2_500);
    table.put("second", account("ada").expires(second));
    assert_eq!(
        ada.ask("refresh", json!({"token": "second"})).await,
        json!({"ok": true, "expires": second.millis()})
    );
    assert_eq!(ada.expect("token_expiring").await["at"], second.millis());
    assert!(first < Timestamp::now());
    assert_eq!(ada.ask("refresh", json!({"token": "ada"})).await, json!({"ok": true, "expires": null}));
    assert_eq!(ada.ask("post", json!({"room": "general", "id": "k", "content": 1})).await["ok"], true);
    let mut guest = Client::full(&server, json!({})).await;
    assert_eq!(guest.ask("refresh", json!({"token": "ada"})).await["error"]["code"], "unauthorized");
}

#[tokio::test]
async fn only_who_manages_a_room_moderates_it_and_not_against_each_other() {
    let (server, table) = serve(|_| {}).await;
    table.put("boss", account("boss").roles(["moderator".to_owned()]));
    let mut ada = with_token(&server, "ada", json!({"general": 0})).await;
    let mut moderator = with_token(&server, "mod", json!({"general": 0})).await;
    let _boss = with_token(&server, "boss", json!({})).await;
    for request in ["kick", "ban", "unban", "mute", "unmute"] {
        let ask = json!({"room": "general", "user": "bob"});
        assert_eq!(ada.ask(request, ask.clone()).await["error"]["code"], "forbidden", "{request}");
        assert_eq!(moderator.ask(request, ask).await, json!({"ok": true}), "{request}");
        let against = moderator.ask(request, json!({"room": "general", "user": "boss"})).await;
        let is_against = !request.starts_with("un");
        assert_eq!(against["ok"], json!(!is_against), "{request}: {against}");
        assert_eq!(
            moderator.ask(request, json!({"room": "general", "user": "guest:*"})).await["error"]["code"],
            "bad_request"
        );
    }
    let past = json!({"room": "general", "user": "bob", "until": 1});
    assert_eq!(moderator.ask("ban", past).await["error"]["code"], "bad_request");
    // Without an ack nobody learns whether it was done, so it is not.
    moderator.emit("ban", &[json!({"room": "general", "user": "ada"})]).await;
    assert_eq!(moderator.ask("unmute", json!({"room": "general", "user": "bob"})).await["ok"], true);
    assert_eq!(ada.ask("post", json!({"room": "general", "id": "k", "content": 1})).await["ok"], true);
}

#[tokio::test]
async fn whoever_is_banned_is_told_gets_nothing_more_and_does_not_come_back() {
    let (server, _) = serve(|_| {}).await;
    let mut ada = with_token(&server, "ada", json!({"general": 0, "other": 0})).await;
    let mut moderator = with_token(&server, "mod", json!({"general": 0})).await;
    let until = in_ms(3_600_000).millis();
    let ban = json!({"room": "general", "user": "ada", "until": until, "reason": "spam"});
    assert_eq!(moderator.ask("ban", ban).await, json!({"ok": true}));
    // Behind the answer nothing of the room reaches her.
    assert_eq!(
        moderator.ask("post", json!({"room": "general", "id": "k", "content": "secret"})).await["ok"],
        true
    );
    assert_eq!(
        ada.expect("removed").await,
        json!({"room": "general", "reason": "banned", "message": "spam", "until": until})
    );
    server.end("other").await;
    assert_eq!(ada.rest().await, []);
    for (request, ask) in [
        ("join", json!({"room": "general"})),
        ("history", json!({"room": "general"})),
        ("post", json!({"room": "general", "id": "k", "content": 1})),
    ] {
        let reply = ada.ask(request, ask).await;
        let code = reply["error"]["code"].as_str().unwrap();
        assert!(code == "forbidden" || (request == "post" && code == "not_joined"), "{request}: {reply}");
    }
    let error = Client::refused(&server, r#"{"token":"ada","rooms":{"general":0}}"#).await;
    assert_eq!((code(&error), &error["data"]["until"]), ("forbidden", &json!(until)));
    assert!(error["message"].as_str().unwrap().contains("general"), "{error}");
    assert_eq!(moderator.ask("unban", json!({"room": "general", "user": "ada"})).await, json!({"ok": true}));
    assert_eq!(ada.ask("join", json!({"room": "general", "after": 0})).await["ok"], true);
    assert_eq!(ada.expect("message").await["content"], "secret");
}

#[tokio::test]
async fn who_was_kicked_may_come_back() {
    let (server, _) = serve(|_| {}).await;
    let mut ada = with_token(&server, "ada", json!({"general": 0})).await;
    let mut moderator = with_token(&server, "mod", json!({})).await;
    assert_eq!(moderator.ask("kick", json!({"room": "general", "user": "ada"})).await["ok"], true);
    let reply = ada.ask("post", json!({"room": "general", "id": "k", "content": 1})).await;
    assert_eq!(reply["error"]["code"], "not_joined");
    assert_eq!(ada.expect("removed").await, json!({"room": "general", "reason": "kicked"}));
    assert_eq!(ada.ask("join", json!({"room": "general"})).await["ok"], true);
}

#[tokio::test]
async fn a_client_of_the_tutorial_that_loses_its_room_is_signed_out() {
    let (server, _) = serve(|_| {}).await;
    let mut ada = Client::connect(&server, json!({"token": "ada"})).await;
    let kick = Measure::Kick { user: user("ada"), room: RoomId::new("general").unwrap(), reason: None };
    server.chat.moderate(&kick).await.unwrap();
    assert_eq!(ada.expect("signed_out").await, json!({"reason": "kicked"}));
    assert_eq!(ada.next().await, Received::Disconnected);
    let ban = Measure::Ban { user: user("ada"), room: room("general"), until: None, reason: None };
    server.chat.moderate(&ban).await.unwrap();
    assert_eq!(code(&Client::refused(&server, r#"{"token":"ada"}"#).await), "forbidden");
}

#[tokio::test]
async fn a_ban_from_everywhere_and_a_sign_out_end_every_connection_of_the_user_and_no_other() {
    let (server, _) = serve(|_| {}).await;
    let mut bob = with_token(&server, "bob", json!({"general": 0})).await;
    let mut phone = with_token(&server, "ada", json!({"general": 0})).await;
    let mut laptop = Client::connect(&server, json!({"token": "ada"})).await;
    let reason = Some(Reason::new("your password has changed").unwrap());
    server.chat.moderate(&Measure::SignOut { user: user("ada"), reason }).await.unwrap();
    for client in [&mut phone, &mut laptop] {
        let told = json!({"reason": "signed_out", "message": "your password has changed"});
        assert_eq!(client.expect("signed_out").await, told);
        assert_eq!(client.next().await, Received::Disconnected);
    }
    let mut again = with_token(&server, "ada", json!({})).await;
    let ban = Measure::Ban { user: user("ada"), room: None, until: None, reason: None };
    server.chat.moderate(&ban).await.unwrap();
    assert_eq!(again.expect("signed_out").await, json!({"reason": "banned"}));
    for auth in
        [r#"{"token":"ada","rooms":{}}"#, r#"{"token":"ada","rooms":{"other":0}}"#, r#"{"token":"ada"}"#]
    {
        assert_eq!(code(&Client::refused(&server, auth).await), "forbidden");
    }
    assert_eq!(bob.ask("post", json!({"room": "general", "id": "k", "content": 1})).await["ok"], true);
}

#[tokio::test]
async fn who_is_muted_reads_and_is_told_until_when() {
    let (server, _) = serve(|_| {}).await;
    let mut ada = with_token(&server, "ada", json!({"general": 0, "other": 0})).await;
    let mut moderator = with_token(&server, "mod", json!({"general": 0})).await;
    let until = in_ms(3_600_000).millis();
    let mute = json!({"room": "general", "user": "ada", "until": until, "reason": "calm down"});
    assert_eq!(moderator.ask("mute", mute).await["ok"], true);
    let post = |room: &str| json!({"room": room, "id": "k", "content": 1});
    let reply = ada.ask("post", post("general")).await;
    assert_eq!((&reply["error"]["code"], &reply["error"]["until"]), (&json!("forbidden"), &json!(until)));
    let message = reply["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("muted") && message.contains(&until.to_string()) && message.contains("calm down"),
        "{message}"
    );
    assert_eq!(ada.ask("post", post("other")).await["ok"], true);
    assert_eq!(moderator.ask("post", post("general")).await["ok"], true);
    assert_eq!(moderator.ask("unmute", json!({"room": "general", "user": "ada"})).await["ok"], true);
    assert_eq!(ada.ask("post", post("general")).await["ok"], true);
}

#[tokio::test]
async fn a_secret_that_was_guessed_wrong_is_answered_like_any_other() {
    let (server, _) = serve(|_| {}).await;
    let mut owner =
        Client::connect(&server, json!({"guest": "the right secret!", "rooms": {"general": 0}})).await;
    assert_eq!(owner.ask("post", json!({"room": "general", "id": "k", "content": 1})).await["ok"], true);
    let id = owner.expect("message").await["from"]["id"].clone();
    for guess in ["the right secret?", "The right secret!", "the right secret! "] {
        let mut eve = Client::connect(&server, json!({"guest": guess, "rooms": {"general": 0}})).await;
        assert_eq!(eve.expect("message").await["from"]["id"], id);
        let reply = eve.ask("post", json!({"room": "general", "id": "k", "content": "other"})).await;
        assert_eq!(
            (&reply["ok"], &reply["duplicate"]),
            (&json!(true), &json!(false)),
            "her keys are her own"
        );
        assert_ne!(eve.expect("message").await["from"]["id"], id);
        owner.expect("message").await;
    }
}

#[tokio::test]
async fn a_user_has_so_many_connections_and_then_is_told_so() {
    let (server, _) = serve(|settings| settings.connections_per_user = NonZeroU32::new(2)).await;
    let first = with_token(&server, "ada", json!({})).await;
    let _second = Client::connect(&server, json!({"token": "ada"})).await;
    let error = Client::refused(&server, r#"{"token":"ada","rooms":{}}"#).await;
    assert_eq!((code(&error), &error["data"]["retryable"]), ("rate_limited", &json!(true)));
    assert!(error["message"].as_str().unwrap().contains("at most 2 connections"), "{error}");
    with_token(&server, "bob", json!({})).await;
    first.cut();
    let mut attempts = 0;
    while !matches!(Client::attempt(&server, r#"{"token":"ada","rooms":{}}"#).await, Attempt::Connected(_)) {
        attempts += 1;
        assert!(attempts < 1_000, "the place of a connection that is gone is free");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_connections_of_a_user_share_a_rate_and_others_have_their_own() {
    let change = |settings: &mut ChatSettings| {
        settings.user_requests_per_second = NonZeroU32::new(1);
        settings.user_requests_burst = NonZeroU32::new(10).unwrap();
    };
    let (server, _) = serve(change).await;
    let mut phone = with_token(&server, "ada", json!({"general": 0})).await;
    let mut laptop = with_token(&server, "ada", json!({"general": 0})).await;
    let mut taken = 0;
    for _ in 0..10 {
        for client in [&mut phone, &mut laptop] {
            let reply = client.ask("history", json!({"room": "general"})).await;
            if reply["ok"] == true {
                taken += 1;
            } else {
                assert_eq!(reply["error"]["code"], "rate_limited");
                assert!(0 < reply["error"]["retryAfterMs"].as_u64().unwrap());
            }
        }
    }
    assert!((10..20).contains(&taken), "{taken}");
    let mut bob = with_token(&server, "bob", json!({"general": 0})).await;
    assert_eq!(bob.ask("history", json!({"room": "general"})).await["ok"], true);
}

#[tokio::test]
async fn joins_have_a_rate_of_their_own() {
    let change = |settings: &mut ChatSettings| {
        settings.joins_per_second = NonZeroU32::new(1);
        settings.joins_burst = NonZeroU32::new(5).unwrap();
    };
    let (server, _) = serve(change).await;
    let mut ada = with_token(&server, "ada", json!({"general": 0})).await;
    let mut joined = 0;
    for number in 0..20 {
        let reply = ada.ask("join", json!({"room": format!("r{number}")})).await;
        if reply["ok"] == true {
            joined += 1;
        } else {
            assert_eq!(reply["error"]["code"], "rate_limited");
        }
    }
    assert!((5..20).contains(&joined), "{joined}");
    assert_eq!(ada.ask("post", json!({"room": "general", "id": "k", "content": 1})).await["ok"], true);
}

#[tokio::test]
async fn what_is_told_to_everybody_has_a_rate_that_the_connections_of_a_user_share() {
    let change = |settings: &mut ChatSettings| {
        settings.notices_per_second = NonZeroU32::new(1);
        settings.notices_burst = NonZeroU32::new(5).unwrap();
    };
    let (server, _) = serve(change).await;
    let mut phone = with_token(&server, "ada", json!({"general": 0})).await;
    let mut laptop = with_token(&server, "ada", json!({"general": 0})).await;
    let typing = json!({"room": "general", "typing": true});
    let mut told = 0;
    for _ in 0..10 {
        for device in [&mut phone, &mut laptop] {
            let reply = device.ask("typing", typing.clone()).await;
            if reply["ok"] == true {
                told += 1;
            } else {
                assert_eq!(reply["error"]["code"], "rate_limited");
                assert!(reply["error"]["retryAfterMs"].is_u64());
            }
        }
    }
    assert!((5..20).contains(&told), "{told}");
    // What nobody waits for is dropped, and holds up nothing.
    for _ in 0..20 {
        phone.emit("typing", std::slice::from_ref(&typing)).await;
    }
    assert_eq!(phone.ask("post", json!({"room": "general", "id": "k", "content": 1})).await["ok"], true);
    let mut bob = with_token(&server, "bob", json!({"general": 0})).await;
    assert_eq!(bob.ask("typing", typing).await["ok"], true);
    let mut guest = Client::connect(&server, json!({"rooms": {"general": 0}})).await;
    let mut renamed = 0;
    for number in 0..20 {
        let reply = guest.ask("rename", json!({"name": format!("Cyd {number}")})).await;
        renamed += usize::from(reply["ok"] == true);
    }
    assert!((5..20).contains(&renamed), "{renamed}");
}

#[tokio::test]
async fn the_rooms_of_a_further_connect_over_one_connection_count_as_requests() {
    let change = |settings: &mut ChatSettings| {
        settings.requests_per_second = NonZeroU32::new(1);
        settings.requests_burst = NonZeroU32::new(10).unwrap();
    };
    let (server, _) = serve(change).await;
    let rooms: Vec<String> = (0..8).map(|number| format!("r{number}")).collect();
    let rooms: Value =
        rooms.into_iter().map(|room| (room, json!(0))).collect::<serde_json::Map<_, _>>().into();
    let auth = json!({"token": "ada", "rooms": rooms});
    // The first is what a client comes with, however many rooms it has.
    let mut ada = Client::connect(&server, auth.clone()).await;
    ada.come_again(auth).await;
    let mut limited = 0;
    for _ in 0..6 {
        let request = ada.request("unheard of", &["{}"], &[]).await;
        limited += usize::from(ada.answer(request).await.0["error"]["code"] == "rate_limited");
    }
    assert!(0 < limited);
}

#[tokio::test]
async fn whoever_is_banned_is_gone_for_the_others_and_their_requests_say_so() {
    let (server, _) = serve(|_| {}).await;
    let mut ada = with_token(&server, "ada", json!({})).await;
    for name in ["general", "other"] {
        assert_eq!(ada.ask("join", json!({"room": name})).await["ok"], true);
    }
    let mut moderator = with_token(&server, "mod", json!({"general": 0})).await;
    assert_eq!(moderator.ask("ban", json!({"room": "general", "user": "ada"})).await["ok"], true);
    assert_eq!(ada.expect("removed").await["reason"], "banned");
    loop {
        let (event, told) = moderator.notice().await;
        if event == "presence" && told["online"] == false {
            assert_eq!(told["user"]["id"], "ada");
            break;
        }
    }
    let members = moderator.ask("members", json!({"room": "general"})).await;
    assert_eq!((&members["total"], &members["members"][0]["id"]), (&json!(1), &json!("mod")));
    for (request, ask) in [
        ("typing", json!({"room": "general", "typing": true})),
        ("typing", json!({"room": "general", "typing": false})),
        ("read", json!({"room": "general", "offset": 1})),
        ("members", json!({"room": "general"})),
    ] {
        assert_eq!(ada.ask(request, ask).await["error"]["code"], "not_joined", "{request}");
    }
    let list = ada.ask("rooms", json!({})).await;
    let names: Vec<_> = list["rooms"].as_array().unwrap().iter().map(|room| room["room"].clone()).collect();
    assert_eq!(names, ["other"]);
    // She can still leave it, so that it need not be listed for ever.
    assert_eq!(ada.ask("leave", json!({"room": "general"})).await["ok"], true);
    assert_eq!(moderator.notices().await, []);
}

#[tokio::test]
async fn who_is_banned_from_a_room_that_only_a_handle_names_is_refused_with_its_name_when_back() {
    let table = Arc::new(Table::default());
    table.put("ada", account("ada"));
    let mut settings = unlimited();
    settings.accounts = Some(table);
    let server = Server::recovering_with(settings).await;
    let mut ada = with_token(&server, "ada", json!({})).await;
    let id = ada.request("join", &[r#"{"room":"later"}"#], &[]).await;
    let Received::Event { args, .. } = ada.next().await else { panic!("the position comes first") };
    assert_eq!(ada.answer(id).await.0["ok"], true);
    let auth = json!({"token": "ada", "rooms": {}, "pid": ada.welcome["pid"], "offset": args[0]});
    ada.cut();
    let ban = Measure::Ban { user: user("ada"), room: room("later"), until: None, reason: None };
    server.chat.moderate(&ban).await.unwrap();
    let error = Client::refused(&server, &auth.to_string()).await;
    assert_eq!(code(&error), "forbidden");
    assert!(error["message"].as_str().unwrap().contains("later"), "{error}");
    let lifted = Measure::Unban { user: user("ada"), room: room("later") };
    server.chat.moderate(&lifted).await.unwrap();
    let ada = Client::connect(&server, auth.clone()).await;
    assert_eq!(ada.welcome["pid"], auth["pid"], "recovered");
}
