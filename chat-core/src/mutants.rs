//! Ways to break the engine on purpose, so that the tests can show that the checker notices each.
//!
//! Without the hidden feature `mutants` every question here is a constant `false` and costs nothing.

/// One way to break the engine.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// The tail shows an entry that lies beyond a hole.
    ShowAcrossHoles,
    /// A post is answered before the log has it.
    AnswerBeforeCommit,
    /// Every attempt of a post gets a key of its own.
    DropDeduplication,
    /// Readers see a post that the log has refused.
    ShowRefused,
    /// Nothing compares rooms with the log: no sweep, no check after an interruption.
    NeverSweep,
    /// A reader whose history is gone goes on at the oldest entry without a word.
    HideLoss,
    /// A reader takes a page from the log and forgets that it did.
    RepeatPage,
    /// A reader that comes from the log skips the first entry of the tail.
    SkipAtHandOver,
    /// A position is believed without a look at the entry it names.
    BelieveFingerprint,
    /// A resume begins at the head.
    ResumeAtHead,
    /// Nobody asks whether a reader may be in the room.
    SkipAuthority,
    /// Readers are told of a loss that did not happen.
    CryWolf,
    /// A healed hole wakes nobody.
    HealSilently,
}

#[cfg(feature = "mutants")]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Breaks (or mends, with `None`) every engine on this thread.
#[cfg(feature = "mutants")]
#[doc(hidden)]
pub fn mutate(mutant: Option<Mutant>) {
    ACTIVE.set(mutant);
}

#[cfg(feature = "mutants")]
pub(crate) fn mutated(mutant: Mutant) -> bool {
    ACTIVE.get() == Some(mutant)
}

#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub(crate) fn mutated(_: Mutant) -> bool {
    false
}
