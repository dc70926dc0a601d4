//! What can go wrong in a store, named by what the caller can do about it.

use std::error::Error;
use std::sync::Arc;

/// The cause of a [`StoreError`]; shared, since one failed read can fail many readers.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// A failure of a store. Lost history is none: it is an answer ([`Replay::Lost`](crate::Replay::Lost)).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Nothing happened; trying again later is safe.
    #[error("{store} is unavailable")]
    Unavailable {
        /// Which store.
        store: &'static str,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The write may have happened; repeat it with the same key.
    #[error("{store} did not confirm the write")]
    Indeterminate {
        /// Which store.
        store: &'static str,
        /// Why.
        #[source]
        source: Cause,
    },
    /// What is stored cannot be understood; trying again does not help, an operator must look.
    #[error("{store} holds something that cannot be understood")]
    Corrupt {
        /// Which store.
        store: &'static str,
        /// What was found.
        #[source]
        source: Cause,
    },
}

impl StoreError {
    /// [`StoreError::Unavailable`] from any cause, also a text.
    pub fn unavailable(store: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable { store, source: source.into().into() }
    }

    /// [`StoreError::Indeterminate`] from any cause, also a text.
    pub fn indeterminate(store: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Indeterminate { store, source: source.into().into() }
    }

    /// [`StoreError::Corrupt`] from any cause, also a text.
    pub fn corrupt(store: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Corrupt { store, source: source.into().into() }
    }
}

/// What every store method returns.
pub type StoreResult<T> = Result<T, StoreError>;
