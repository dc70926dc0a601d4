//! Redis Sentinel: who is the primary. One that was cut off from the others goes on naming the old one, so all are asked, a majority is waited for,
//! and whoever knows of the latest failover is believed. Where fewer than a majority answer, they are believed all the same: a minority that is left
//! is no reason to leave Redis alone, though no failover can happen then.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, RedisResult, cmd};

use crate::connect_error::ConnectError;

#[derive(Clone, Debug)]
pub(crate) struct Sentinels {
    /// By which they know the primary.
    name: String,
    clients: Vec<Client>,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    host: String,
    port: u16,
}

impl Sentinels {
    /// `named` has the primary's name in place of a host.
    pub(crate) fn new(named: &ConnectionAddr, urls: &[String]) -> Result<Self, ConnectError> {
        let (ConnectionAddr::Tcp(name, _) | ConnectionAddr::TcpTls { host: name, .. }) = named else {
            return Err(ConnectError::Options("Sentinel needs the name of a primary"));
        };
        let clients = urls.iter().map(|url| Client::open(url.as_str()).map_err(ConnectError::Address));
        Ok(Self { name: name.clone(), clients: clients.collect::<Result<_, _>>()? })
    }

    /// Where the primary is, as far as they know.
    pub(crate) async fn primary(&self, config: &AsyncConnectionConfig) -> RedisResult<Address> {
        let mut asked: FuturesUnordered<_> =
            self.clients.iter().map(|client| self.ask(client, config)).collect();
        let mut known = Vec::new();
        let mut failure = (ErrorKind::Client, "there is no Sentinel to ask").into();
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(answer) => known.push(answer),
                Err(error) => failure = error,
            }
            if self.clients.len() / 2 < known.len() {
                break;
            }
        }
        known.into_iter().max_by_key(|(failover, _)| *failover).map(|(_, address)| address).ok_or(failure)
    }

    /// The number of the latest failover that this one knows of, and the primary since then.
    async fn ask(&self, client: &Client, config: &AsyncConnectionConfig) -> RedisResult<(u64, Address)> {
        let mut connection = client.get_multiplexed_async_connection_with_config(config).await?;
        let mut about = cmd("SENTINEL");
        about.arg("MASTER").arg(&self.name);
        let about: BTreeMap<String, String> = about.query_async(&mut connection).await?;
        let mut ask = cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
        let (host, port) = ask.query_async(&mut connection).await?;
        let failover = about.get("config-epoch").and_then(|number| number.parse().ok()).unwrap_or(0);
        Ok((failover, Address { host, port }))
    }
}

impl Address {
    /// In place of the one that is there, encrypted as that one.
    pub(crate) fn within(&self, named: &ConnectionAddr) -> ConnectionAddr {
        let (host, port) = (self.host.clone(), self.port);
        match named.clone() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure, tls_params }
            }
            _ => ConnectionAddr::Tcp(host, port),
        }
    }
}
