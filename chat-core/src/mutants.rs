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
    /// Another message under a key that was used is answered as if it were stored.
    SwallowConflict,
    /// Nobody asks whether an author may post.
    PostUnasked,
    /// A first visit begins at the head, whatever was asked for.
    BeginAtHead,
    /// After a loss a reader goes on at the head, and leaves out what is still kept.
    SkipAfterLoss,
    /// A first visit, and a reader whose history is gone, begin with all that is kept.
    IgnoreFirstVisitMax,
    /// A wave wakes only every other reader.
    WakeEveryOther,
    /// A loss is told again.
    TellLossAgain,
    /// A room that was left still delivers.
    StayAfterLeave,
    /// Leaving a room takes their turn from those that waited for it.
    StrandOnLeave,
    /// Bodies whose redaction nobody told of stay in memory.
    RedactOnNewsOnly,
    /// A page that was asked for before a redaction is handed out after it.
    HandOutOldPages,
    /// Pages outlive the room on this node.
    KeepPagesOfClosedRooms,
    /// A page that still grows is cached.
    CacheGrowingPages,
    /// The end of what is listened to is noticed, but no room is watched anew.
    ListenToNothing,
    /// Time in which news may have been missed is no reason to compare.
    IgnoreInterruptions,
    /// A failed attempt to open a room is the answer for as long as anybody holds it.
    KeepFailedOpening,
    /// Nobody asks who wants a page of history.
    ScrollUnasked,
    /// A page of history leaves out a message between two reads.
    SkipInHistory,
    /// A page of history is empty where the room has another epoch by now.
    EndHistoryAtEpoch,
    /// A page of history goes on to the end of the room.
    IgnoreBefore,
    /// Private and reserved rooms are as open as any other.
    OpenPrivateRooms,
    /// Facts are trimmed before the snapshot that takes them in is stored.
    TrimBeforeSnapshot,
    /// A private room gets its first message, and nobody is told of the room.
    TellNobody,
    /// How far somebody has seen is confirmed and not stored.
    MarkReadInMemory,
    /// The key of a fact is made of what it says alone, and not of what was known.
    ForgetWhatWasLeft,
    /// Who is there is never compared with the store.
    NeverSweepPresence,
    /// A node whose lease has lapsed goes on as if it had its seats.
    ForgetLapse,
    /// A renewal that holds is believed, whatever happened while no answer came.
    BelieveRenewals,
    /// Nobody evicts a node that has died.
    NeverEvict,
    /// A seat that could not be given up is not given up later.
    LeaveOnce,
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
