//! Socket.IO 5 over Engine.IO 4 for unmodified clients, as a router for any axum application
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod engine;
