//! What somebody gets who is after the rooms of others: nothing, and no hint that there is something.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use chat_core::{Action, Authority, Backends, Chat, MemoryStore, RoomId, StoreResult, UserId, Who};
use serde_json::{Value, json};

use crate::client::{Attempt, Client, Received};
use crate::rooms::{done, guest, id_of, list, say, secret};
use crate::server::{Server, unlimited};

/// Ada and Bob have a private room with a message in it; answers its name, and that of one that they have not used.
async fn private(server: &Server) -> (Client, Client, String, String) {
    let (ada_id, bob_id) = (id_of(server, "ada").await, id_of(server, "bob").await);
    let mut bob = guest(server, "bob", json!({})).await;
    let mut ada = guest(server, "ada", json!({})).await;
    let dm = done(&mut ada, "direct", json!({"user": bob_id})).await["room"].as_str().unwrap().to_owned();
    done(&mut ada, "join", json!({"room": dm})).await;
    say(&mut ada, &dm, "for you alone").await;
    assert_eq!(bob.expect("message").await["offset"], 1);
    assert_eq!(ada.expect("message").await["offset"], 1);
    let dan = UserId::new("dan").unwrap();
    let unused = RoomId::direct(&UserId::new(&ada_id).unwrap(), &dan).to_string();
    (ada, bob, dm, unused)
}

#[tokio::test]
async fn a_private_room_of_others_answers_like_one_that_does_not_exist() {
    let server = Server::start().await;
    let (mut ada, _, dm, unused) = private(&server).await;
    let pos = done(&mut ada, "history", json!({"room": dm})).await["messages"][0]["pos"].clone();
    let mut eve = guest(&server, "eve", json!({"general": 0})).await;
    for (name, request) in [
        ("join", json!({})),
        ("join", json!({"after": 0})),
        ("join", json!({"after": pos})),
        ("join", json!({"last": 50})),
        ("history", json!({})),
        ("history", json!({"before": 2, "limit": 1})),
        ("post", json!({"id": "k", "content": "let me in"})),
        ("read", json!({"offset": 1})),
    ] {
        let mut replies = Vec::new();
        for room in [&dm, &unused] {
            let mut request = request.clone();
            request["room"] = json!(room);
            replies.push(eve.ask(name, request).await);
        }
        assert_eq!(replies[0], replies[1], "{name} {request}");
        let code = replies[0]["error"]["code"].as_str().unwrap();
        assert!(matches!(code, "forbidden" | "not_joined"), "{name} {request}: {code}");
    }
    // Leaving what one is not in is no error anywhere, and changes nothing.
    done(&mut eve, "leave", json!({"room": dm})).await;
    assert_eq!(list(&mut eve).await.len(), 1);
    let refused = |room: &str| json!({"guest": secret("eve"), "rooms": { room: 0 }}).to_string();
    let (used, not) = (
        Client::refused(&server, &refused(&dm)).await["data"].clone(),
        Client::refused(&server, &refused(&unused)).await["data"].clone(),
    );
    assert_eq!((&used["code"], &not["code"]), (&json!("forbidden"), &json!("forbidden")));
    let rest = |data: &Value, room: &str| data["message"].as_str().unwrap().replace(room, "");
    assert_eq!(rest(&used, &dm), rest(&not, &unused));
    // And nobody has noticed anything.
    say(&mut ada, &dm, "still alone").await;
    assert_eq!(ada.expect("message").await["content"], "still alone");
    assert_eq!(done(&mut ada, "history", json!({"room": dm})).await["head"], 2);
}

#[tokio::test]
async fn a_name_that_is_no_room_for_clients_is_refused_everywhere() {
    let server = Server::start().await;
    let (_, _, dm, _) = private(&server).await;
    let hashes = dm.strip_prefix("dm:").unwrap();
    let (first, second) = hashes.split_once('.').unwrap();
    let mut eve = guest(&server, "eve", json!({"general": 0})).await;
    for name in [
        format!("~u:{first}"),
        "~moderation".to_owned(),
        "~sockets".to_owned(),
        "~".to_owned(),
        "dm:".to_owned(),
        format!("dm:{second}.{first}"),
        format!("dm:{first}"),
        format!("dm:{first}.{second}.{second}"),
        format!("dm:{first}.{second}\0"),
        format!("dm:{first}\0.{second}"),
        format!("{dm} "),
        format!("dm:{first}\u{2024}{second}"),
        format!("dm:{first}.{}\u{301}", &second[..42]),
        format!("dm:{}", "A".repeat(1_000_000 - 200)),
        "x\0y".to_owned(),
    ] {
        for (request, mut fields) in [
            ("join", json!({})),
            ("leave", json!({})),
            ("history", json!({})),
            ("post", json!({"id": "k", "content": 1})),
            ("read", json!({"offset": 1})),
        ] {
            fields["room"] = json!(name);
            let reply = eve.ask(request, fields).await;
            assert_eq!(reply["error"]["code"], "bad_request", "{request} {name:.200}: {reply}");
            assert!(reply.to_string().len() < 400, "it is not repeated");
        }
        assert_eq!(eve.ask("rooms", json!({"after": name})).await["error"]["code"], "bad_request");
        let auth = json!({"guest": secret("eve"), "rooms": { name.as_str(): 0 }}).to_string();
        assert_eq!(Client::refused(&server, &auth).await["data"]["code"], "bad_request", "{name:.200}");
    }
    // What only looks alike is a room like any other, and not the private one.
    for name in [format!("\u{ff44}m:{hashes}"), format!("DM:{hashes}"), format!("dm\u{a789}{hashes}")] {
        assert_eq!(done(&mut eve, "join", json!({"room": name})).await["head"], 0);
    }
}

#[tokio::test]
async fn nothing_comes_to_a_third_one_whatever_it_does() {
    let server = Server::start().await;
    let eve_id = id_of(&server, "eve").await;
    let mut eve = guest(&server, "eve", json!({"general": 0})).await;
    let (mut ada, mut bob, dm, _) = private(&server).await;
    eve.ask("join", json!({"room": dm})).await;
    eve.ask("direct", json!({"user": dm})).await;
    for number in 0..20 {
        say(&mut ada, &dm, &format!("a{number}")).await;
        say(&mut bob, &dm, &format!("b{number}")).await;
    }
    // With a private room of her own, which is news to her as well.
    let own = done(&mut ada, "direct", json!({"user": eve_id})).await["room"].as_str().unwrap().to_owned();
    done(&mut ada, "join", json!({"room": own})).await;
    say(&mut ada, &own, "hello eve").await;
    let message = eve.expect("message").await;
    assert_eq!((&message["room"], &message["content"]), (&json!(own), &json!("hello eve")));
    let listed = list(&mut eve).await;
    assert!(listed.iter().all(|room| room["room"] != dm), "{listed:?}");
    assert!(!json!(listed).to_string().contains("alone"));
}

/// Keeps everybody out of one room, from some time on.
#[derive(Debug, Clone, Default)]
struct Ban(Arc<AtomicBool>);

#[async_trait]
impl Authority for Ban {
    async fn allows(&self, _: &Who, room: &RoomId, _: Action) -> StoreResult<bool> {
        Ok(!(self.0.load(Ordering::SeqCst) && room.as_str() == "cellar"))
    }
}

#[tokio::test]
async fn the_list_tells_nothing_of_a_room_that_one_may_no_longer_be_in() {
    let ban = Ban::default();
    let chat = Chat::builder(Backends::from_store(MemoryStore::new())).authority(ban.clone());
    let server = Server::with(chat, unlimited()).await;
    let mut ada = guest(&server, "ada", json!({"cellar": 0, "general": 0})).await;
    say(&mut ada, "cellar", "secret").await;
    assert_eq!(list(&mut ada).await.len(), 2);
    ban.0.store(true, Ordering::SeqCst);
    let listed = list(&mut ada).await;
    assert_eq!(listed.len(), 1);
    assert!(!json!(listed).to_string().contains("cellar"));
}

#[tokio::test]
async fn a_pid_and_a_token_of_somebody_else_open_no_private_room() {
    let server = Server::recovering().await;
    let (mut ada, mut bob, dm, _) = private(&server).await;
    let pid = bob.welcome["pid"].as_str().unwrap().to_owned();
    say(&mut ada, &dm, "more").await;
    let token = loop {
        match bob.next().await {
            Received::Event { args, .. } => break args.last().unwrap().as_str().unwrap().to_owned(),
            _ => continue,
        }
    };
    // In her own name, with what was his; and with nothing but that.
    for auth in [
        json!({"guest": secret("eve"), "rooms": {}, "pid": pid, "offset": token}),
        json!({"rooms": {}, "pid": pid, "offset": token}),
    ] {
        let Attempt::Connected(mut eve) = Client::attempt(&server, &auth.to_string()).await else {
            panic!("she is let in, as somebody else")
        };
        assert_ne!(eve.welcome["pid"], pid);
        assert_ne!(eve.welcome["sid"], bob.welcome["sid"]);
        let reply = eve.ask("history", json!({"room": dm})).await;
        assert_eq!(reply["error"]["code"], "forbidden");
        let reply = eve.ask("post", json!({"room": dm, "id": "k", "content": 1})).await;
        assert_eq!(reply["error"]["code"], "not_joined");
    }
    // Part of one token and of the other.
    let own = guest(&server, "eve", json!({})).await;
    let auth = json!({"guest": secret("eve"), "rooms": {}, "pid": own.welcome["pid"], "offset": token});
    own.cut();
    let mut eve = Client::connect(&server, auth).await;
    assert_eq!(
        eve.ask("post", json!({"room": dm, "id": "k", "content": 1})).await["error"]["code"],
        "not_joined"
    );
}
