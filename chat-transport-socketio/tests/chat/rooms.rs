//! Own rooms, private rooms and read marks, as clients see them.

use chat_core::{Backends, Chat, Limits, MemoryStore};
use serde_json::{Value, json};

use crate::client::{Client, Received};
use crate::server::{Server, unlimited};

pub(crate) fn secret(name: &str) -> String {
    format!("the secret of {name:0>8}")
}

/// A guest that is the same on every connection, in the full protocol.
pub(crate) async fn guest(server: &Server, name: &str, rooms: Value) -> Client {
    Client::connect(server, json!({"guest": secret(name), "name": name, "rooms": rooms})).await
}

/// A request that must succeed.
pub(crate) async fn done(client: &mut Client, name: &str, request: Value) -> Value {
    let reply = client.ask(name, request.clone()).await;
    assert_eq!(reply["ok"], true, "{name} {request}: {reply}");
    reply
}

pub(crate) async fn say(client: &mut Client, room: &str, text: &str) -> Value {
    done(client, "post", json!({"room": room, "id": text, "content": text})).await
}

/// The public id of a guest, from what it says in a room that nobody else is in.
pub(crate) async fn id_of(server: &Server, name: &str) -> String {
    let mut client = Client::connect(server, json!({"guest": secret(name), "name": name, "rooms": {}})).await;
    let own = format!("the room of {name}");
    done(&mut client, "join", json!({"room": own})).await;
    say(&mut client, &own, "me").await;
    let id = client.expect("message").await["from"]["id"].as_str().unwrap().to_owned();
    done(&mut client, "leave", json!({"room": own})).await;
    id
}

pub(crate) async fn list(client: &mut Client) -> Vec<Value> {
    done(client, "rooms", json!({})).await["rooms"].as_array().unwrap().clone()
}

fn names(list: &[Value]) -> Vec<&str> {
    list.iter().map(|room| room["room"].as_str().unwrap()).collect()
}

/// Nothing has come by itself.
async fn assert_nothing_came(client: &mut Client) {
    // The answer comes after whatever was due before it was asked for.
    let id = client.request("history", &[r#"{"room":"quiet","limit":1}"#], &[]).await;
    assert!(matches!(client.next().await, Received::Ack { id: of, .. } if of == id));
}

#[tokio::test]
async fn the_first_message_of_a_private_room_comes_to_somebody_who_never_heard_of_it() {
    let server = Server::start().await;
    let bob_id = id_of(&server, "bob").await;
    let mut bob = guest(&server, "bob", json!({})).await;
    let mut phone = guest(&server, "bob", json!({})).await;
    let mut ada = guest(&server, "ada", json!({})).await;
    let dm = done(&mut ada, "direct", json!({"user": bob_id})).await["room"].as_str().unwrap().to_owned();
    assert_eq!(done(&mut ada, "direct", json!({"user": bob_id})).await["room"], dm);
    done(&mut ada, "join", json!({"room": dm})).await;
    assert_eq!(list(&mut bob).await, [] as [Value; 0], "nobody has said anything");
    let posted = say(&mut ada, &dm, "hello").await;
    for device in [&mut bob, &mut phone] {
        let message = device.expect("message").await;
        assert_eq!(
            (&message["room"], &message["offset"], &message["pos"]),
            (&json!(dm), &json!(1), &posted["pos"])
        );
        assert_eq!(message["from"]["name"], "ada");
    }
    // It is in the room now: it answers, and what comes next comes too.
    say(&mut bob, &dm, "hello back").await;
    assert_eq!(ada.expect("message").await["content"], "hello");
    assert_eq!(ada.expect("message").await["content"], "hello back");
    say(&mut ada, &dm, "again").await;
    for device in [&mut bob, &mut phone] {
        assert_eq!(device.expect("message").await["offset"], 2);
        assert_eq!(device.expect("message").await["offset"], 3);
    }
}

#[tokio::test]
async fn who_was_away_finds_the_private_room_in_the_list_and_what_comes_next_comes_by_itself() {
    let server = Server::start().await;
    let bob_id = id_of(&server, "bob").await;
    let mut ada = guest(&server, "ada", json!({})).await;
    let dm = done(&mut ada, "direct", json!({"user": bob_id})).await["room"].as_str().unwrap().to_owned();
    done(&mut ada, "join", json!({"room": dm})).await;
    for number in 1..=3 {
        say(&mut ada, &dm, &format!("{number}")).await;
    }
    let mut bob = guest(&server, "bob", json!({})).await;
    let listed = list(&mut bob).await;
    let room = &listed[0];
    assert_eq!(names(&listed), [dm.as_str()]);
    assert_eq!((&room["head"], &room["read"], &room["unread"]), (&json!(3), &json!(0), &json!(3)));
    assert_eq!((&room["last"]["content"], &room["last"]["offset"]), (&json!("3"), &json!(3)));
    assert_eq!(room["with"]["name"], "ada");
    assert_eq!(room["last"]["from"]["id"], room["with"]["id"]);
    assert_nothing_came(&mut bob).await;
    say(&mut ada, &dm, "4").await;
    assert_eq!(bob.expect("message").await["offset"], 4);
    // The other one had asked by id alone, and knows the name since the answer.
    assert_eq!(list(&mut ada).await[0]["with"], json!({"id": bob_id}));
    say(&mut bob, &dm, "5").await;
    assert_eq!(list(&mut ada).await[0]["with"], json!({"id": bob_id, "name": "bob"}));
    // How far the other one has seen it is found there too: who was away was not told.
    done(&mut bob, "read", json!({"room": dm, "offset": 4})).await;
    assert_eq!(list(&mut ada).await[0]["with"], json!({"id": bob_id, "name": "bob", "read": 4}));
}

#[tokio::test]
async fn a_client_that_names_its_private_room_gets_what_it_has_missed() {
    let server = Server::start().await;
    let bob_id = id_of(&server, "bob").await;
    let mut ada = guest(&server, "ada", json!({})).await;
    let dm = done(&mut ada, "direct", json!({"user": bob_id})).await["room"].as_str().unwrap().to_owned();
    done(&mut ada, "join", json!({"room": dm})).await;
    for number in 1..=3 {
        say(&mut ada, &dm, &format!("{number}")).await;
    }
    let mut bob = guest(&server, "bob", json!({ dm.as_str(): 1 })).await;
    assert_eq!(bob.expect("message").await["offset"], 2);
    assert_eq!(bob.expect("message").await["offset"], 3);
    // Left: this connection gets nothing more of it, and it stays in the list.
    done(&mut bob, "leave", json!({"room": dm})).await;
    say(&mut ada, &dm, "4").await;
    assert_nothing_came(&mut bob).await;
    assert_eq!(list(&mut bob).await[0]["head"], 4);
}

#[tokio::test]
async fn a_room_that_was_joined_is_listed_on_every_device_until_it_is_left() {
    let server = Server::start().await;
    let mut ada = guest(&server, "ada", json!({"general": 0})).await;
    let mut phone = guest(&server, "ada", json!({})).await;
    done(&mut phone, "join", json!({"room": "help"})).await;
    say(&mut phone, "help", "anybody?").await;
    assert_eq!(names(&list(&mut ada).await), ["general", "help"]);
    let help = list(&mut ada).await[1].clone();
    assert_eq!((&help["head"], &help["unread"], &help["with"]), (&json!(1), &json!(1), &Value::Null));
    done(&mut ada, "leave", json!({"room": "help"})).await;
    done(&mut ada, "leave", json!({"room": "never joined"})).await;
    assert_eq!(names(&list(&mut phone).await), ["general"]);
    // Nobody has missed what was there before they came.
    let mut bob = guest(&server, "bob", json!({})).await;
    done(&mut bob, "join", json!({"room": "help"})).await;
    let help = list(&mut bob).await[0].clone();
    assert_eq!((&help["head"], &help["read"], &help["unread"]), (&json!(1), &json!(1), &json!(0)));
}

#[tokio::test]
async fn a_guest_for_one_connection_has_only_the_rooms_that_it_joins() {
    let server = Server::start().await;
    let mut nobody = Client::full(&server, json!({"general": 0})).await;
    assert_eq!(list(&mut nobody).await.len(), 0);
    done(&mut nobody, "join", json!({"room": "help"})).await;
    assert_eq!(names(&list(&mut nobody).await), ["help"]);
}

#[tokio::test]
async fn the_list_says_as_whom_others_see_its_owner() {
    let server = Server::start().await;
    let id = id_of(&server, "ada").await;
    let mut ada = guest(&server, "ada", json!({})).await;
    assert_eq!(done(&mut ada, "rooms", json!({})).await["user"], json!({"id": id, "name": "ada"}));
}

#[tokio::test]
async fn a_list_of_rooms_comes_in_pages() {
    let server = Server::start().await;
    let mut ada = guest(&server, "ada", json!({"a": 0, "b": 0, "c": 0, "d": 0, "e": 0})).await;
    let first = done(&mut ada, "rooms", json!({"limit": 2})).await;
    assert_eq!((names(first["rooms"].as_array().unwrap()), &first["next"]), (vec!["a", "b"], &json!("b")));
    let second = done(&mut ada, "rooms", json!({"limit": 2, "after": first["next"]})).await;
    assert_eq!(names(second["rooms"].as_array().unwrap()), ["c", "d"]);
    let last = done(&mut ada, "rooms", json!({"limit": 2, "after": second["next"]})).await;
    assert_eq!((names(last["rooms"].as_array().unwrap()), last.get("next")), (vec!["e"], None));
}

#[tokio::test]
async fn attachments_of_the_newest_messages_come_along_and_are_numbered_through() {
    let server = Server::start().await;
    let mut ada = guest(&server, "ada", json!({"a": 0, "b": 0})).await;
    for room in ["a", "b"] {
        let post = format!(r#"{{"room":"{room}","id":"k","content":{{"_placeholder":true,"num":0}}}}"#);
        let (reply, _) = ada.ask_raw("post", &[&post], &[room.as_bytes()]).await;
        assert_eq!(reply["ok"], true);
    }
    let (reply, attachments) = ada.ask_raw("rooms", &["{}"], &[]).await;
    let number = |room: usize| &reply["rooms"][room]["last"]["content"]["num"];
    assert_eq!((number(0), number(1)), (&json!(0), &json!(1)));
    assert_eq!(attachments, [&b"a"[..], &b"b"[..]]);
}

#[tokio::test]
async fn how_far_one_has_read_is_the_same_on_every_device_and_never_moves_back() {
    let server = Server::start().await;
    let mut ada = guest(&server, "ada", json!({"general": 0})).await;
    let mut phone = guest(&server, "ada", json!({"general": 0})).await;
    for number in 1..=5 {
        say(&mut ada, "general", &format!("{number}")).await;
    }
    assert_eq!(list(&mut phone).await[0]["unread"], 5);
    for (said, reached) in [(3, 3), (1, 3), (0, 3), (99, 5), (2, 5)] {
        let reply = done(&mut ada, "read", json!({"room": "general", "offset": said})).await;
        assert_eq!(reply["offset"], reached);
        assert_eq!(list(&mut phone).await[0]["read"], reached);
    }
    assert_eq!(list(&mut phone).await[0]["unread"], 0);
    // Without an ack it takes effect all the same.
    say(&mut ada, "general", "6").await;
    ada.emit("read", &[json!({"room": "general", "offset": 6})]).await;
    assert_eq!(list(&mut ada).await[0]["read"], 6);
}

#[tokio::test]
async fn many_reads_at_once_are_all_answered() {
    let server = Server::start().await;
    let mut ada = guest(&server, "ada", json!({"general": 0})).await;
    for number in 1..=50 {
        say(&mut ada, "general", &format!("{number}")).await;
    }
    let mut ids = Vec::new();
    for offset in 1..=50 {
        ids.push(
            ada.request("read", &[&json!({"room": "general", "offset": offset}).to_string()], &[]).await,
        );
    }
    for (offset, id) in (1..=50).zip(ids) {
        assert!(offset <= ada.answer(id).await.0["offset"].as_u64().unwrap());
    }
}

#[tokio::test]
async fn a_request_about_rooms_with_wrong_fields_is_refused_and_the_field_is_named() {
    let server = Server::start().await;
    let mut ada = guest(&server, "ada", json!({"general": 0})).await;
    for (name, request, code, named) in [
        ("read", json!({"offset": 1}), "bad_request", "`room`"),
        ("read", json!({"room": "general"}), "bad_request", "`offset`"),
        ("read", json!({"room": "general", "offset": -1}), "bad_request", "`offset`"),
        ("read", json!({"room": "general", "offset": "1"}), "bad_request", "`offset`"),
        ("read", json!({"room": "general", "offset": 1_u64 << 53}), "bad_request", "`offset`"),
        ("read", json!({"room": "elsewhere", "offset": 1}), "not_joined", "join"),
        ("read", json!([]), "bad_request", "object"),
        ("direct", json!({}), "bad_request", "`user`"),
        ("direct", json!({"user": ""}), "bad_request", "`user`"),
        ("direct", json!({"user": "a\nb"}), "bad_request", "`user`"),
        ("direct", json!({"user": "x".repeat(257)}), "bad_request", "`user`"),
        ("direct", json!({"user": 7}), "bad_request", "`user`"),
        ("direct", json!({"user": "guest:*"}), "bad_request", "`user`"),
        ("rooms", json!({"limit": 0}), "bad_request", "`limit`"),
        ("rooms", json!({"limit": 1.5}), "bad_request", "`limit`"),
        ("rooms", json!({"after": "~u:x"}), "bad_request", "`after`"),
        ("rooms", json!(null), "bad_request", "object"),
    ] {
        let reply = ada.ask(name, request.clone()).await;
        assert_eq!(reply["error"]["code"], code, "{name} {request}: {reply}");
        let message = reply["error"]["message"].as_str().unwrap();
        assert!(message.contains(named), "{name} {request}: {message}");
    }
    done(&mut ada, "direct", json!({"user": "x".repeat(256)})).await;
}

#[tokio::test]
async fn one_room_more_than_a_user_may_have_is_refused_with_a_reason() {
    let mut limits = Limits::default();
    limits.rooms_per_user_max = 2;
    let chat = Chat::builder(Backends::from_store(MemoryStore::new())).limits(limits);
    let server = Server::with(chat, unlimited()).await;
    let mut ada = guest(&server, "ada", json!({"a": 0, "b": 0})).await;
    for (name, request) in [("join", json!({"room": "c"})), ("direct", json!({"user": "bob"}))] {
        let reply = ada.ask(name, request).await;
        assert_eq!(
            (&reply["error"]["code"], &reply["error"]["retryable"]),
            (&json!("bad_request"), &json!(false))
        );
        assert!(reply["error"]["message"].as_str().unwrap().contains("at most 2 rooms"), "{reply}");
    }
    let auth = json!({"guest": secret("ada"), "rooms": {"c": 0}}).to_string();
    assert_eq!(Client::refused(&server, &auth).await["data"]["code"], "bad_request");
    done(&mut ada, "leave", json!({"room": "a"})).await;
    done(&mut ada, "join", json!({"room": "c"})).await;
}

#[tokio::test]
async fn a_private_room_with_oneself_is_a_place_for_notes() {
    let server = Server::start().await;
    let id = id_of(&server, "ada").await;
    let mut ada = guest(&server, "ada", json!({})).await;
    let mut phone = guest(&server, "ada", json!({})).await;
    let dm = done(&mut ada, "direct", json!({"user": id})).await["room"].as_str().unwrap().to_owned();
    done(&mut ada, "join", json!({"room": dm})).await;
    say(&mut ada, &dm, "note").await;
    assert_eq!(phone.expect("message").await["content"], "note");
    assert_eq!(list(&mut phone).await[0]["with"], json!({"id": id, "name": "ada"}));
}

#[tokio::test]
async fn a_client_that_was_cut_gets_the_private_room_that_began_meanwhile_once() {
    let server = Server::recovering().await;
    let mut ada = guest(&server, "ada", json!({})).await;
    let cid_id = id_of(&server, "cid").await;
    // Cut before there is anything that could tell of the room.
    let cid = guest(&server, "cid", json!({"general": 0})).await;
    let cid_pid = cid.welcome["pid"].clone();
    cid.cut();
    let with_cid =
        done(&mut ada, "direct", json!({"user": cid_id})).await["room"].as_str().unwrap().to_owned();
    done(&mut ada, "join", json!({"room": with_cid})).await;
    for number in 1..=3 {
        say(&mut ada, &with_cid, &format!("{number}")).await;
    }
    let auth = json!({"guest": secret("cid"), "rooms": {"general": 0}, "pid": cid_pid});
    let mut cid = Client::connect(&server, auth.clone()).await;
    assert_eq!(cid.welcome["pid"], cid_pid, "recovered");
    let mut token = Value::Null;
    for number in 1..=3 {
        match cid.next().await {
            Received::Event { name, args, .. } if name == "message" => {
                assert_eq!((&args[0]["room"], &args[0]["offset"]), (&json!(with_cid), &json!(number)));
                token = args[1].clone();
            }
            other => panic!("{other:?}"),
        }
    }
    cid.cut();
    say(&mut ada, &with_cid, "4").await;
    // With the token it goes on behind what it has, also after it has left.
    let mut auth = auth;
    auth["offset"] = token;
    let mut cid = Client::connect(&server, auth.clone()).await;
    assert_eq!(cid.welcome["pid"], cid_pid, "recovered");
    assert_eq!(cid.expect("message").await["offset"], 4);
    let id = cid.request("leave", &[&json!({"room": with_cid}).to_string()], &[]).await;
    let Received::Event { name, args, .. } = cid.next().await else { panic!("the position comes first") };
    assert_eq!(name, "position");
    auth["offset"] = args[0].clone();
    assert_eq!(cid.answer(id).await.0["ok"], true);
    cid.cut();
    say(&mut ada, &with_cid, "5").await;
    let mut cid = Client::connect(&server, auth).await;
    assert_eq!(cid.welcome["pid"], cid_pid, "recovered");
    // What was left before the cut stays left.
    let reply = cid.ask("post", json!({"room": with_cid, "id": "k", "content": 1})).await;
    assert_eq!(reply["error"]["code"], "not_joined");
}
