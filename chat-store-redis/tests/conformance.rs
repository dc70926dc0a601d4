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

mod cluster {
    use super::*;

    async fn new_store() -> (RedisStore, Cluster) {
        let cluster = Cluster::start(3).await;
        let store = RedisOptions::cluster(cluster.urls()).connect().await.unwrap();
        (store, cluster)
    }

    chat_core::conformance!(new_store);
}
