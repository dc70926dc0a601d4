//! Questions to a store in tasks of their own.

use tokio_util::task::AbortOnDropHandle;

use crate::error::{StoreError, StoreResult};

/// Goes on whether or not the caller is polled, so that a connection that does not take what it is sent holds up nobody who waits for the
/// same answer or for a permit. Ends when the caller is dropped. A panic is a failure of this question only.
pub(crate) async fn in_a_task<T: Send + 'static>(
    question: impl Future<Output = StoreResult<T>> + Send + 'static,
) -> StoreResult<T> {
    let answer = AbortOnDropHandle::new(tokio::spawn(question));
    answer.await.unwrap_or_else(|broken| Err(StoreError::unavailable("chat", broken)))
}
