//! The three traits as one value: all from one store, or mixed.

use std::sync::Arc;

use crate::delivery::Delivery;
use crate::log::MessageLog;
use crate::presence::Presence;

/// Where the engine keeps things. Chosen at run time; cloning is three reference counts.
#[derive(Clone, Debug)]
pub struct Backends {
    /// History.
    pub log: Arc<dyn MessageLog>,
    /// News between nodes, and positions.
    pub delivery: Arc<dyn Delivery>,
    /// Who is there.
    pub presence: Arc<dyn Presence>,
}

impl Backends {
    /// All three from one store.
    pub fn from_store<S: MessageLog + Delivery + Presence>(store: S) -> Self {
        let store = Arc::new(store);
        Self { log: store.clone(), delivery: store.clone(), presence: store }
    }
}
