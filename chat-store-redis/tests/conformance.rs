//! Every sentence of the traits' contracts, on one server and on a cluster.
#![allow(clippy::unwrap_used)]

mod support;

use chat_store_redis::{RedisOptions, RedisStore};
use support::{Cluster, Server};

mod one_server {
    use super::*;

    async fn new_store() -> (RedisStore, Server) {
        let server = Server::start().await;
        let store = RedisStore::connect(server.url()).await.unwrap();
        (store, server)
    }

    chat_core::conformance!(new_store);
}

mod with_a_replica {
    use super::*;

    async fn new_store() -> (RedisStore, [Server; 2]) {
        let server = Server::start().await;
        let replica = support::replica_of(&server).await;
        let mut options = RedisOptions::new(server.url());
        options.replicas_min = 1;
        (options.connect().await.unwrap(), [server, replica])
    }

    chat_core::conformance!(log: new_store);
}

mod cluster {
    use super::*;

    async fn new_store() -> (RedisStore, Cluster) {
        let cluster = Cluster::start(3).await;
        let store = RedisOptions::cluster(cluster.urls()).connect().await.unwrap();
        (store, cluster)
    }

    chat_core::conformance!(new_store);
}

/// Killed and started again whenever it is opened; what was answered is on its disk.
mod reopened {
    use tokio::sync::Mutex;

    use super::*;

    chat_core::conformance!(
        reopen: async || Mutex::new(Server::start_with(&support::DURABLE).await),
        async |place: &Mutex<Server>| {
            let mut server = place.lock().await;
            server.kill().await;
            server.restart().await;
            RedisStore::connect(server.url()).await.unwrap()
        },
        async |store: RedisStore| drop(store)
    );
}
