//! The chat events over real sockets: every row of the wire contract, from the client's side.
#![allow(clippy::unwrap_used)]

mod accounts;
mod attacks;
mod client;
mod connecting;
mod content;
mod fairness;
mod full;
mod history;
mod load;
mod outage;
mod people;
mod rooms;
mod server;
mod store;
mod tutorial;
