//! Files of earlier versions: opened, brought to the newest version, and nothing of them is lost.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use bytes::Bytes;
use chat_core::{Body, Delivery, Epoch, MessageLog, Offset, Position, Progress, SubscriberId};
use chat_store_sqlite::SqliteStore;
use sqlx::{AssertSqlSafe, Connection, raw_sql};
use support::{bounds, draft, duplicate, eventually, fresh, intruder, is_somewhere, kept, room};

const VERSION_1: &str = include_str!("../migrations/0001_rooms.sql");

/// A room as the first version left it: one entry erased, one trimmed and not erased yet, one redacted, and two in full.
const ROOM: &str = r#"
    INSERT INTO store (only_row, identity) VALUES (1, x'000102030405060708090a0b0c0d0e0f');
    INSERT INTO rooms (id, name, epoch, trimmed, trimmed_fingerprint, erased) VALUES (1, 'lobby', 7, 2, 102, 1);
    INSERT INTO entries (room, offset, at, kind, author, key, fingerprint, name, text, attachments)
    SELECT 1, column1, 1000 * unixepoch(), 0, 'ada', column1, 100 + column1, column2, column3, column4
    FROM (VALUES
        (1, NULL, NULL, NULL),
        (2, 'Ada', '[trimmed]', x'0100000002'),
        (3, 'Ada', NULL, NULL),
        (4, 'Ada', 'four', x'020000000102'),
        (5, 'Ada', 'five', NULL)
    );
    INSERT INTO progress (who, what, room, epoch, offset) VALUES ('phone', 1, 'lobby', 7, 4);
    PRAGMA application_id = 0x43686174;
    PRAGMA user_version = 1;
"#;

async fn write_version_1(path: &Path) {
    drop(std::fs::File::create(path).unwrap());
    let mut file = intruder(path).await;
    raw_sql(AssertSqlSafe(format!("PRAGMA journal_mode = WAL; BEGIN; {VERSION_1} {ROOM} COMMIT;")))
        .execute(&mut file)
        .await
        .unwrap();
    file.close().await.unwrap();
}

#[tokio::test]
async fn a_file_of_version_1_is_upgraded_and_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    write_version_1(&path).await;
    let lobby = room("lobby");
    let position = |offset| Position { epoch: Epoch::from_number(7), offset: Offset::new(offset).unwrap() };
    // Opened again, it is not upgraded again.
    for redactions in [0, 1] {
        let store = SqliteStore::connect(&path).await.unwrap();
        assert_eq!(store.identity().await.unwrap().0, std::array::from_fn(|byte| byte as u8));
        let now = bounds(&store, &lobby).await;
        assert_eq!((now.trimmed.position, now.trimmed.fingerprint.number()), (position(2), 102));
        assert_eq!((now.head.position, now.head.fingerprint.number()), (position(5), 105));
        assert_eq!(now.redactions, redactions);
        let entries = kept(&store, &lobby).await;
        let bodies: Vec<_> = entries.iter().map(|entry| entry.body.clone()).collect();
        let four = Body { attachments: [Bytes::from_static(&[1, 2])].into(), ..Body::text("four") };
        let five = (redactions == 0).then(|| Body::text("five"));
        assert_eq!(bodies, [None, Some(four), five]);
        for (entry, offset) in entries.iter().zip(3..) {
            assert_eq!((entry.position, entry.fingerprint.number()), (position(offset), 100 + offset));
            assert_eq!((entry.key.as_str(), entry.author.name.as_str()), (&*offset.to_string(), "Ada"));
        }
        for key in 1..=3 {
            let again = store.append(&lobby, draft(&key.to_string(), "other text")).await.unwrap();
            assert_eq!(duplicate(again).position, position(key));
        }
        let phone = SubscriberId::new("phone").unwrap();
        let read = store.progress(Progress::Read, &phone, std::slice::from_ref(&lobby)).await.unwrap();
        assert_eq!(read, [Some(position(4))]);
        eventually("the rest is erased", async || !is_somewhere(&path, "[trimmed]")).await;
        store.redact(&lobby, position(5)).await.unwrap();
        assert_eq!(bounds(&store, &lobby).await.redactions, 1, "erasing was not counted");
        store.close().await;
    }
    let store = SqliteStore::connect(&path).await.unwrap();
    assert_eq!(fresh(store.append(&lobby, draft("6", "hello")).await.unwrap()).position, position(6));
}
