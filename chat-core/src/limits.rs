//! Every bound of the engine, with its unit and the reason for its default.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

/// How much of a room a reader takes in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// At most so many entries.
    pub entries: usize,
    /// At most so many bytes, counted by [`Entry::bytes`](crate::Entry::bytes); one entry is always taken.
    pub bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { entries: 128, bytes: 64 * 1024 }
    }
}

/// The engine's settings.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Newest entries of one room kept in memory, in entries. 256 is a burst of a second in a very busy room; whoever is further behind reads the log.
    pub tail_entries_max: usize,
    /// The same in bytes. It keeps a room of large messages from holding more than a room of small ones.
    pub tail_bytes_max: usize,
    /// All tails of this node together, in bytes. Beyond it, a room that grows keeps only its newest entry.
    pub tails_bytes_max: usize,
    /// Entries of one shared log page. Pages begin at multiples of it, so that readers at different places share them.
    pub page_entries_max: NonZeroU32,
    /// The same in bytes: what a reader that is behind may cause to be held for it at once.
    pub page_bytes_max: usize,
    /// All cached pages together, in bytes.
    pub pages_bytes_max: usize,
    /// Log reads under way at once. More would only queue in the store, before the posts.
    pub log_reads_max: NonZeroUsize,
    /// Rooms that one reader can be in.
    pub rooms_per_reader_max: usize,
    /// Rooms that are one user's own, and as many private ones that others have opened with it and in which it has not answered: what is read of it at once.
    /// Devices that join at the same time may get it past this by one each.
    pub rooms_per_user_max: usize,
    /// The largest body of a draft, text and attachments together, in bytes.
    pub body_bytes_max: usize,
    /// How often a watched room is compared with the log. News is lost with a connection, which is noticed at once, so this is only the net below the net.
    pub sweep_interval: Duration,
    /// Rooms compared with the log in one second at most.
    pub sweep_rooms_per_second_max: NonZeroU32,
    /// How long a room without readers is still watched: those who reload a page come back.
    pub linger: Duration,
    /// Rooms without readers that are still watched. Beyond it a room that is not open yet is opened only when another one is closed, the one
    /// that was left first, although it lingers: whoever joins and leaves in a loop waits for it.
    pub idle_rooms_max: NonZeroUsize,
    /// How many of the newest entries a reader gets that begins at the start, or whose history was lost; `None`: all that is kept.
    pub first_visit_entries_max: Option<u64>,
    /// Bans and mutes that are remembered, in all rooms together; each takes about 200 bytes of every node.
    pub sanctions_max: usize,
    /// People in a room up to which notices name them. In a larger one a reader is told how many type and read: nobody follows more than a few
    /// dozen names, and each name costs a wake-up of everybody.
    pub named_notices_max: u64,
    /// People in a room up to which each that comes or goes is told. In a larger one a reader is told how many are there.
    pub presence_notices_max: u64,
    /// Between two notices of one room that only tell how many. What changes meanwhile is told by the second one.
    pub counted_notices_interval: Duration,
    /// Notices kept of one room, in notices. Whoever falls behind them is told anew who is there, and misses who has typed and read.
    pub notices_kept_max: NonZeroUsize,
    /// How long a notice is kept for readers that are slow to take it.
    pub notices_kept_for: Duration,
    /// How long somebody types who does not say again that it does.
    pub typing_expiry: Duration,
    /// How long somebody is still there whose last connection is gone: a phone changes its network, a page is reloaded.
    pub presence_grace: Duration,
    /// How long the seats of a node outlive it. Renewed at a third of it.
    pub presence_lease: Duration,
    /// How often a room's people are compared with the store. News of them may be lost without a trace; this is when that is noticed at the latest.
    pub presence_sweep_interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tail_entries_max: 256,
            tail_bytes_max: 1024 * 1024,
            tails_bytes_max: 256 * 1024 * 1024,
            page_entries_max: NonZeroU32::new(128).expect("not zero"),
            page_bytes_max: 128 * 1024,
            pages_bytes_max: 32 * 1024 * 1024,
            log_reads_max: NonZeroUsize::new(8).expect("not zero"),
            rooms_per_reader_max: 100,
            rooms_per_user_max: 1_000,
            body_bytes_max: 1_000_000,
            sweep_interval: Duration::from_secs(5),
            sweep_rooms_per_second_max: NonZeroU32::new(1_000).expect("not zero"),
            linger: Duration::from_secs(30),
            idle_rooms_max: NonZeroUsize::new(10_000).expect("not zero"),
            first_visit_entries_max: None,
            sanctions_max: 100_000,
            named_notices_max: 100,
            presence_notices_max: 1_000,
            counted_notices_interval: Duration::from_secs(1),
            notices_kept_max: NonZeroUsize::new(512).expect("not zero"),
            notices_kept_for: Duration::from_secs(30),
            typing_expiry: Duration::from_secs(6),
            presence_grace: Duration::from_secs(10),
            presence_lease: Duration::from_secs(30),
            presence_sweep_interval: Duration::from_secs(30),
        }
    }
}
