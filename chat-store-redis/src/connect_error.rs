//! Why a store cannot be used. Each message says what to do.

use redis::RedisError;

/// Why Redis cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is none.
    #[error(
        "the address of Redis must look like redis://host:6379 (or rediss:// for an encrypted connection)"
    )]
    Address(#[source] RedisError),
    /// Nobody answers there.
    #[error("Redis cannot be reached: check that it runs, and the address")]
    Unreachable(#[source] RedisError),
    /// The server does not let us in.
    #[error("Redis refuses the user or the password")]
    Refused(#[source] RedisError),
    /// None of the sentinels says where the primary is.
    #[error(
        "Sentinel does not say where the primary is: check the sentinels' addresses, their name for it, and their own password"
    )]
    Sentinel(#[source] RedisError),
    /// The server is too old.
    #[error("Redis is too old: version 6.0 or newer is needed, and 7.0 for a cluster")]
    TooOld,
    /// What was asked for cannot be combined.
    #[error("{0}")]
    Options(&'static str),
}

impl ConnectError {
    pub(crate) fn from_redis(error: RedisError) -> Self {
        match error.kind() {
            redis::ErrorKind::InvalidClientConfig => Self::Address(error),
            redis::ErrorKind::AuthenticationFailed => Self::Refused(error),
            redis::ErrorKind::RESP3NotSupported => Self::TooOld,
            _ if matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM")) => Self::Refused(error),
            _ => Self::Unreachable(error),
        }
    }
}
