//! Content of any kind: kept byte for byte, attachments included, and never harmful to other clients.

use bytes::Bytes;
use chat_core::{Author, Body, DisplayName, Draft, Kind, MessageKey, UserId};
use serde_json::{Value, json};

use crate::client::{Client, Received};
use crate::server::Server;

fn place(number: usize) -> String {
    format!(r#"{{"_placeholder":true,"num":{number}}}"#)
}

async fn event(client: &mut Client) -> (String, Vec<Bytes>) {
    match client.next().await {
        Received::Event { raw, attachments, .. } => (raw, attachments),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn content_comes_back_byte_for_byte_in_both_protocols() {
    let server = Server::start().await;
    let mut tutorial = Client::tutorial(&server).await;
    let mut full = Client::full(&server, json!({"general": 0})).await;
    let contents = [
        "\"plain\"",
        "{\"b\":1,\"a\":2,\"a\":3}",
        "[ 1.50,\t1e400 , -0,  \"\\u0041\\ud800\\/\" ]",
        "9007199254740993.000000000000001",
        "\"\u{2028} \u{0}ü\"",
    ];
    // The control character above is none that JSON allows as it is.
    let contents: Vec<String> = contents.iter().map(|text| text.replace('\u{0}', "\\u0000")).collect();
    for (number, content) in contents.iter().enumerate() {
        let request = format!(r#"{{"content" : {content} ,"id":"k-{number}", "room":"general"}}"#);
        assert_eq!(full.ask_raw("post", &[&request], &[]).await.0["ok"], true);
        assert_eq!(event(&mut tutorial).await.0, format!(r#"["chat message",{content},{}]"#, number + 1));
        assert!(event(&mut full).await.0.contains(&format!(r#""content":{content},"at":"#)));
    }
    let id = full.request("history", &[r#"{"room":"general"}"#], &[]).await;
    let raw = full.raw_answer(id).await;
    for content in &contents {
        assert!(raw.contains(&format!(r#""content":{content},"at":"#)), "{raw}");
    }
}

#[tokio::test]
async fn binary_content_reaches_both_protocols() {
    let server = Server::start().await;
    let mut tutorial = Client::tutorial(&server).await;
    let mut full = Client::full(&server, json!({"general": 0})).await;
    let content = format!(r#"{{"two":{},"one":{}}}"#, place(1), place(0));
    let (reply, _) = tutorial.ask_raw("chat message", &[&content, "\"k\""], &[b"first", b"\0\xff"]).await;
    assert_eq!(reply["ok"], true);
    let all = vec![Bytes::from_static(b"first"), Bytes::from_static(b"\0\xff")];
    assert_eq!(event(&mut tutorial).await, (format!(r#"["chat message",{content},1]"#), all.clone()));
    let (raw, attachments) = event(&mut full).await;
    assert!(raw.contains(&format!(r#""content":{content},"#)), "{raw}");
    assert_eq!(attachments, all);

    // The same again is a repeat; with another attachment it is something else.
    let (again, _) = tutorial.ask_raw("chat message", &[&content, "\"k\""], &[b"first", b"\0\xff"]).await;
    assert_eq!(again["duplicate"], true);
    let (other, _) = tutorial.ask_raw("chat message", &[&content, "\"k\""], &[b"first", b"\0\xfe"]).await;
    assert_eq!(other["error"]["code"], "conflict");
}

#[tokio::test]
async fn attachments_of_other_arguments_are_not_kept() {
    let server = Server::start().await;
    let mut ada = Client::tutorial(&server).await;
    let args = [format!("[{}]", place(1)), place(0), place(2)];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    ada.send("chat message", &args, &[b"not this", b"this", b"nor this"], None).await;
    let expected = format!(r#"["chat message",[{}],1]"#, place(0));
    assert_eq!(event(&mut ada).await, (expected, vec![Bytes::from_static(b"this")]));
}

#[tokio::test]
async fn a_page_of_history_carries_the_attachments_of_several_messages() {
    let server = Server::start().await;
    let mut ada = Client::full(&server, json!({"general": 0})).await;
    for number in 0..4 {
        let content = format!(r#"[{},"{number}",{}]"#, place(1), place(0));
        let request = format!(r#"{{"room":"general","id":"k-{number}","content":{content}}}"#);
        let (one, two) = (format!("one of {number}"), format!("two of {number}"));
        let (reply, _) = ada.ask_raw("post", &[&request], &[one.as_bytes(), two.as_bytes()]).await;
        assert_eq!(reply["ok"], true, "{reply}");
    }
    ada.ask("post", json!({"room": "general", "id": "plain", "content": "plain"})).await;
    let (page, attachments) = ada.ask_raw("history", &[r#"{"room":"general"}"#], &[]).await;
    let messages = page["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 5);
    for (number, message) in messages[..4].iter().enumerate() {
        for (index, what) in [(0, "two"), (2, "one")] {
            let at = usize::try_from(message["content"][index]["num"].as_u64().unwrap()).unwrap();
            assert_eq!(attachments[at], format!("{what} of {number}"));
        }
    }
    assert_eq!(messages[4]["content"], "plain");
    assert_eq!(attachments.len(), 8);
}

#[tokio::test]
async fn a_placeholder_that_a_client_made_up_is_refused() {
    let server = Server::start().await;
    let mut ada = Client::full(&server, json!({"general": 0})).await;
    for content in [place(0), format!("[{}]", place(7)), r#"{"a":{"_placeholder":true}}"#.to_owned()] {
        let request = format!(r#"{{"room":"general","id":"k","content":{content}}}"#);
        let (reply, _) = ada.ask_raw("post", &[&request], &[]).await;
        assert_eq!(reply["error"]["code"], "bad_request", "{content}");
    }
    assert_eq!(ada.ask("history", json!({"room": "general"})).await["messages"], json!([]));
}

#[tokio::test]
async fn what_an_application_stored_that_is_no_json_is_sent_as_a_string() {
    let server = Server::start().await;
    let texts = ["no \"json\"", "{\"_placeholder\":true,\"num\":0}", ""];
    for (number, text) in texts.into_iter().enumerate() {
        let author = Author { id: UserId::new("app").unwrap(), name: DisplayName::new("App").unwrap() };
        let key = MessageKey::new(&format!("k-{number}")).unwrap();
        server.post("general", Draft { kind: Kind::Message, author, key, body: Body::text(text) }).await;
    }
    let mut tutorial = Client::tutorial(&server).await;
    let mut full = Client::full(&server, json!({"general": 0})).await;
    let page = full.ask("history", json!({"room": "general"})).await;
    for (number, text) in texts.into_iter().enumerate() {
        assert_eq!(tutorial.heard().await, (Value::from(text), number as u64 + 1));
        assert_eq!(full.expect("message").await["content"], text);
        assert_eq!(page["messages"][number]["content"], text);
    }
}
