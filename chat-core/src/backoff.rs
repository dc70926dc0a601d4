//! Pauses between attempts.

use std::time::Duration;

/// Grows from 10 ms to 2 s.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(Duration::from_millis(10))
    }
}

impl Backoff {
    const MAX: Duration = Duration::from_secs(2);

    /// The next pause; the one after it is longer.
    pub(crate) fn grow(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(Self::MAX);
        pause
    }

    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.grow()).await;
    }
}
