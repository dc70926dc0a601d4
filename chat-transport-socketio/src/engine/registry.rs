//! The open connections of one engine, by session id.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::Notify;

use super::CloseReason;
use super::handle::Handle;
use super::settings::Settings;

/// What all connections of an engine share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) registry: Registry,
    /// How the ids of its sessions begin.
    pub(crate) node: Node,
}

/// A session's place in the registry; it is given back on drop, also when the task panics or never starts.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) shared: Arc<Shared>,
    pub(crate) sid: Sid,
    pub(crate) handle: Arc<Handle>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.handle.end();
        self.shared.registry.remove(self.sid);
    }
}

/// Tells the sessions of one server process from those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node([u8; 3]);

impl Node {
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }
}

/// A session id: 24 bits name the process that has it, and 104 are random.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Sid([u8; 16]);

impl Sid {
    pub(crate) fn random(node: Node) -> Self {
        let mut bytes: [u8; 16] = rand::random();
        bytes[..node.0.len()].copy_from_slice(&node.0);
        Self(bytes)
    }

    /// Whether that process has, or had, the session.
    pub(crate) fn is_of(self, node: Node) -> bool {
        self.0.starts_with(&node.0)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        (length == bytes.len()).then_some(Self(bytes))
    }
}

/// Who has the id has the session: it stays out of logs.
impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sid(..)")
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// The link that a session is on, as far as new requests must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    Polling,
    WebSocket,
    /// None any more; its task only winds up.
    Nothing,
}

#[derive(Default)]
pub(crate) struct Registry {
    open: Mutex<Open>,
    emptied: Notify,
}

#[derive(Default)]
struct Open {
    sessions: HashMap<Sid, (Arc<Handle>, On)>,
    shut: bool,
}

/// No further connection is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Registry {
    pub(crate) fn insert(&self, sid: Sid, handle: Arc<Handle>, on: On, max: usize) -> Result<(), Full> {
        let mut open = self.lock();
        if open.shut || max <= open.sessions.len() {
            return Err(Full);
        }
        open.sessions.insert(sid, (handle, on));
        Ok(())
    }

    pub(crate) fn get(&self, sid: Sid) -> Option<(Arc<Handle>, On)> {
        self.lock().sessions.get(&sid).cloned()
    }

    pub(crate) fn moved(&self, sid: Sid, to: On) {
        if let Some((_, on)) = self.lock().sessions.get_mut(&sid) {
            *on = to;
        }
    }

    pub(crate) fn remove(&self, sid: Sid) {
        let mut open = self.lock();
        open.sessions.remove(&sid);
        if open.sessions.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().sessions.len()
    }

    /// Refuses new sessions, closes the open ones, and waits up to `patience` for them. True: none is left.
    pub(crate) async fn shut(&self, patience: Duration) -> bool {
        let handles: Vec<_> = {
            let mut open = self.lock();
            open.shut = true;
            open.sessions.values().map(|(handle, _)| handle.clone()).collect()
        };
        for handle in handles {
            handle.close(CloseReason::Shutdown);
        }
        let emptied = async {
            loop {
                let notified = self.emptied.notified();
                if self.len() == 0 {
                    return;
                }
                notified.await;
            }
        };
        tokio::time::timeout(patience, emptied).await.is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().expect("nothing panics while it holds the registry")
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("sessions", &self.len()).finish_non_exhaustive()
    }
}
