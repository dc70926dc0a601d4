//! The in-memory backends against the conformance kit.

use chat_core::MemoryStore;

chat_core::conformance!(|| async { (MemoryStore::new(), ()) });

mod seeded {
    use chat_core::MemoryStore;
    use std::sync::atomic::{AtomicU64, Ordering};

    static SEED: AtomicU64 = AtomicU64::new(0);

    chat_core::conformance!(|| async { (MemoryStore::seeded(SEED.fetch_add(1, Ordering::Relaxed)), ()) });
}

mod alone {
    use chat_core::LocalPresence;

    chat_core::conformance!(presence: || async { (LocalPresence::default(), ()) });
}

/// Opening is cloning: nothing is durable here, but the rules of reopening are exercised.
mod reopened {
    use chat_core::MemoryStore;

    chat_core::conformance!(
        reopen: || async { MemoryStore::new() },
        async |place: &MemoryStore| place.clone(),
        async |store: MemoryStore| drop(store)
    );
}
