//! Chat inside another application, without any network: `cargo run -p chat-core --example embed`.

use chat_core::{
    Author, Backends, Body, Budget, Chat, DisplayName, Draft, Kind, MemoryStore, MessageKey, RoomId, Since,
    Step, UserId,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let chat = Chat::builder(Backends::from_store(MemoryStore::new())).start().await?;
    let lobby = RoomId::new("lobby")?;
    let ada = Author { id: UserId::new("ada")?, name: DisplayName::new("Ada")? };

    // However often a draft is sent, it is stored once.
    let draft = Draft {
        kind: Kind::Message,
        author: ada,
        key: MessageKey::new("ada-1")?,
        body: Body::text("Hello, lobby!"),
    };
    let first = chat.post(&lobby, draft.clone()).await?;
    let again = chat.post(&lobby, draft).await?;
    assert_eq!((first.bookmark, again.duplicate), (again.bookmark, true));

    // A reader is pulled by whoever writes to the connection, whenever there is room for more.
    let reader = chat.reader(UserId::new("bob")?);
    reader.join(&lobby, Since::Start).await?;
    let mut place = None;
    if let Step::Run(run) = reader.next(Budget::default()).await {
        for entry in &run.entries {
            let text = entry.body.as_ref().map_or("(removed)", |body| &body.text);
            println!("{} {}: {text}", entry.position.offset, entry.author.name);
            place = Some(entry.bookmark());
        }
    }
    drop(reader);

    // Bob comes back with the last place that he has seen, and misses nothing.
    let place = place.ok_or("Bob has seen something")?;
    let back = chat.reader(UserId::new("bob")?);
    let joined = back.join(&lobby, Since::Bookmark(place)).await?;
    assert!(!joined.lost);
    println!("Bob is back at {place}, and {} is the newest", joined.bounds.head);

    chat.shutdown().await;
    Ok(())
}
