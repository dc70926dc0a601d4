//! What one client's posts cost another one's: counted in posts that are stored before it, not in time.

use chat_core::{Backends, MemoryStore};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Client, PATIENCE};
use crate::server::Server;
use crate::store::counted;

/// In flight at a time: sent, or waiting to be, and none of them answered.
const FLOOD: usize = 20_000;

/// Sends that many posts without waiting for an answer, and reads whatever comes; ends when all are answered.
fn flood(client: Client, connection: usize) -> JoinHandle<()> {
    let (mut write, mut read) = client.into_socket().split();
    tokio::spawn(async move {
        for number in 0..FLOOD {
            let id = format!("flood-{connection}-{number}");
            let post = json!(["post", {"room": "lobby", "id": id, "content": number}]);
            write.feed(Message::text(format!("42{number}{post}"))).await.unwrap();
        }
        write.flush().await.unwrap();
        std::future::pending::<()>().await;
    });
    tokio::spawn(async move {
        let mut answered = 0;
        while answered < FLOOD {
            let text = tokio::time::timeout(PATIENCE, read.next()).await.unwrap().unwrap().unwrap();
            answered += usize::from(text.to_text().unwrap().starts_with("43"));
        }
    })
}

async fn guest(server: &Server, secret: &str) -> Client {
    Client::connect(server, json!({"guest": secret, "rooms": {"lobby": 0}})).await
}

fn post(number: usize) -> Value {
    json!({"room": "lobby", "id": format!("other-{number}"), "content": number})
}

/// The handler of a connection waits for the store before the next one of that connection runs. So of all that a connection has sent,
/// one post at a time is at the store, and what comes to the store meanwhile is behind that one.
#[tokio::test]
async fn at_the_store_a_post_is_behind_one_post_of_each_other_connection_however_many_these_have_sent() {
    for connections in [1, 3] {
        let (backends, calls) = counted(Backends::from_store(MemoryStore::new()));
        let server = Server::over(backends).await;
        let mut other = guest(&server, "somebody-else-123").await;
        // Its name in the log is a digest of its secret.
        other.ask("post", post(0)).await;
        let author = calls.authors().remove(0);
        calls.shut();
        for connection in 0..connections {
            flood(guest(&server, "flooder-flooder-1").await, connection);
        }
        for round in 1..=100 {
            let stored = calls.stored();
            // The store is busy with the flood, and stays so until the other post is there as well.
            calls.appends(stored + connections).await;
            let id = other.request("post", &[&post(round).to_string()], &[]).await;
            let before = calls.appended(&author, stored).await;
            assert_eq!(before - stored, connections, "posts of the flood that are stored before it");
            calls.let_in(before + 1 - stored);
            let (reply, _) = other.answer(id).await;
            assert_eq!(reply["offset"], before + 1);
        }
    }
}

/// Until a post is at the store, the server must have read it. It looks at its sockets after 61 turns of its tasks (tokio's `event_interval`) at
/// the latest, and a post of the flood takes two turns and more: its connection's, and the one of the task that stores it. So about 30 are stored
/// before it is read, and one while it is stored; twice that is the bound.
#[tokio::test]
async fn of_twenty_thousand_posts_in_flight_a_few_are_stored_between_another_post_being_sent_and_being_stored()
 {
    const FAIR_SHARE: u64 = 64;
    let (backends, calls) = counted(Backends::from_store(MemoryStore::new()));
    let server = Server::over(backends).await;
    let mut other = guest(&server, "somebody-else-123").await;
    let flooding = flood(guest(&server, "flooder-flooder-1").await, 0);
    let mut posts = 0;
    while !flooding.is_finished() {
        let stored = calls.stored() as u64;
        let reply = other.ask("post", post(posts)).await;
        let between = reply["offset"].as_u64().unwrap() - 1 - stored;
        assert!(between <= FAIR_SHARE, "{between} posts of the flood were stored before post {posts}");
        posts += 1;
    }
    flooding.await.unwrap();
    assert_eq!(calls.stored(), FLOOD + posts, "the flood is stored as well");
    assert!(FLOOD / 100 < posts, "{posts} posts were compared with the flood");
}
