//! Readers that are slow, and readers that are many, counted.

use std::sync::Arc;

use chat_core::fault::{FaultRates, Faults};
use chat_core::{Author, Backends, Body, DisplayName, Draft, Kind, MemoryStore, MessageKey, UserId};
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::client::{Client, Received};
use crate::server::Server;
use crate::store::counted;

async fn fill(server: &Server, room: &str, from: u64, upto: u64) {
    let author = Author { id: UserId::new("ada").unwrap(), name: DisplayName::new("Ada").unwrap() };
    let posts = (from..=upto).map(|number| {
        let key = MessageKey::new(&number.to_string()).unwrap();
        let body = Body::text(format!("\"message number {number}\""));
        server.post(room, Draft { kind: Kind::Message, author: author.clone(), key, body })
    });
    futures_util::stream::iter(posts).for_each_concurrent(100, |post| post).await;
}

/// What is on its way to a client that does not read is found out by taking the store away: more cannot come then.
#[tokio::test]
async fn a_reader_that_does_not_read_costs_a_fixed_amount_and_catches_up_without_loss() {
    const MESSAGES: u64 = 100_000;
    const BYTES_MAX: usize = 256 * 1024;
    let faults = Faults::new(1, FaultRates::NONE);
    let (backends, calls) = counted(faults.wrap(Backends::from_store(MemoryStore::new())));
    let server = Server::over(backends).await;
    let mut slow = Client::small(&server, &json!({"rooms": {"lobby": 0}})).await;
    let mut seen = 0;
    let mut next = |args: &[Value]| {
        seen += 1;
        assert_eq!(args[0]["offset"], seen);
        seen
    };

    fill(&server, "lobby", 1, MESSAGES / 2).await;
    let reads = calls.reads();
    fill(&server, "lobby", MESSAGES / 2 + 1, MESSAGES).await;
    assert!(calls.reads() <= reads + 1, "a reader that is stuck reads nothing");
    faults.outage();

    let mark = slow.request("no such event", &[], &[]).await;
    let mut bytes = 0;
    loop {
        match slow.next().await {
            Received::Ack { id, .. } if id == mark => break,
            Received::Event { raw, args, .. } => {
                bytes += raw.len();
                next(&args);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(bytes < BYTES_MAX, "{bytes} bytes were taken for a client that reads nothing");

    faults.heal();
    loop {
        match slow.next().await {
            Received::Event { args, .. } if next(&args) == MESSAGES => break,
            Received::Event { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    server.end("lobby").await;
    assert_eq!(slow.rest().await, []);
}

/// Needs 2,000 open files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_that_resume_at_once_cost_a_handful_of_log_reads() {
    const CLIENTS: usize = 1_000;
    let store = MemoryStore::new();
    let before = Server::over(Backends::from_store(store.clone())).await;
    fill(&before, "lobby", 1, 1_000).await;

    // A node that has just started: nothing is in memory.
    let (backends, calls) = counted(Backends::from_store(store));
    let server = Arc::new(Server::over(backends).await);
    let clients: Vec<_> = (0..CLIENTS as u64)
        .map(|number| {
            let server = server.clone();
            tokio::spawn(async move {
                let after = 850 + number % 100;
                let mut client = Client::full(&server, json!({"lobby": after})).await;
                for offset in after + 1..=1_000 {
                    assert_eq!(client.expect("message").await["offset"], offset);
                }
                client
            })
        })
        .collect();
    let mut connected = Vec::new();
    for client in clients {
        connected.push(client.await.unwrap());
    }
    assert!(calls.reads() <= 20, "{} reads", calls.reads());
    assert!(calls.bounds() <= 20, "{} looks at the bounds", calls.bounds());
    // What is each one's own is asked for once.
    assert!(calls.facts() <= CLIENTS + 20, "{} looks at what is of one user", calls.facts());
    // And they all go on with what is new.
    server.end("lobby").await;
    for client in &mut connected {
        assert_eq!(client.rest().await, []);
    }
}
