//! What Redis answers when something is wrong, in terms of what the caller can do.

use chat_core::StoreError;
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// What the store is called in errors.
pub(crate) const STORE: &str = "Redis";
/// The first word of what scripts answer about a room that cannot be right.
const DAMAGED: &str = "DAMAGED";

/// Of a command that changes nothing.
pub(crate) fn of_read(error: RedisError) -> StoreError {
    if is_damage(&error) { StoreError::corrupt(STORE, error) } else { StoreError::unavailable(STORE, error) }
}

/// Of a command that may have taken effect.
pub(crate) fn of_write(error: RedisError) -> StoreError {
    if is_damage(&error) {
        StoreError::corrupt(STORE, error)
    } else if has_not_happened(&error) {
        StoreError::unavailable(STORE, error)
    } else {
        StoreError::indeterminate(STORE, error)
    }
}

/// What is stored is not what this crate has put there.
pub(crate) fn corrupt(what: &'static str) -> StoreError {
    StoreError::corrupt(STORE, what)
}

fn is_damage(error: &RedisError) -> bool {
    matches!(error.code(), Some(DAMAGED | "WRONGTYPE"))
}

/// Whether the server has said that it did nothing, or was never asked.
fn has_not_happened(error: &RedisError) -> bool {
    match error.kind() {
        // A script that was ended in its middle may have written.
        ErrorKind::Server(ServerErrorKind::ExecAbort | ServerErrorKind::NotBusy) => false,
        ErrorKind::Server(ServerErrorKind::ResponseError) => false,
        // A cluster's client has tried more than once by then, and it may have happened the first time.
        ErrorKind::Server(ServerErrorKind::ClusterDown | ServerErrorKind::MasterDown) => false,
        ErrorKind::Server(_) => true,
        ErrorKind::Extension => {
            matches!(error.code(), Some("OOM" | "MISCONF" | "NOAUTH" | "NOPERM" | "NOREPLICAS" | "BUSY"))
        }
        ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig | ErrorKind::Client => true,
        _ => error.is_connection_refusal(),
    }
}
