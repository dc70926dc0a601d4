//! Every sentence of the three traits' contracts, also across reopening the file.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use chat_store_sqlite::SqliteStore;
use tempfile::TempDir;

async fn new_store() -> (SqliteStore, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::connect(folder.path().join("chat.db")).await.unwrap();
    (store, folder)
}

chat_core::conformance!(new_store);

struct Place(TempDir);

impl Place {
    fn path(&self) -> PathBuf {
        self.0.path().join("chat.db")
    }
}

chat_core::conformance!(
    reopen: async || Place(tempfile::tempdir().unwrap()),
    async |place: &Place| SqliteStore::connect(place.path()).await.unwrap(),
    async |store: SqliteStore| store.close().await
);
