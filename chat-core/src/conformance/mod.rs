//! The conformance kit: every sentence of the three traits' contracts as a test that any backend can run.
//!
//! [`conformance!`](crate::conformance!) expands to one `#[test]` for each rule, so that a failure names the sentence that was broken and a
//! new rule reaches every store by itself. Enable the feature `conformance` in the dev-dependencies of the backend and write, in
//! `tests/conformance.rs`:
//!
//! ```
//! # use chat_core::MemoryStore;
//! chat_core::conformance!(|| async {
//!     let store = MemoryStore::new(); // yours: new and empty, in a folder or a database of its own
//!     (store, ()) // the second value, such as a temporary folder, lives as long as the test
//! });
//! # fn main() {}
//! ```
//!
//! The store is `Clone`; a clone is a second handle to the same store. A backend of one trait only runs that trait's rules:
//!
//! ```
//! # use chat_core::{LocalPresence, MemoryStore};
//! chat_core::conformance!(presence: || async { (LocalPresence::default(), ()) });
//! # mod others { use chat_core::MemoryStore;
//! chat_core::conformance!(log: || async { (MemoryStore::new(), ()) });
//! chat_core::conformance!(delivery: || async { (MemoryStore::new(), ()) });
//! # }
//! # fn main() {}
//! ```
//!
//! (One rule, that an append which says so was announced, needs log and delivery in one store and is among `delivery`.)
//!
//! A store that outlives its process also runs the rules of reopening. They take the place (a folder, say), how to open the store there and
//! how to close it:
//!
//! ```
//! # use chat_core::MemoryStore;
//! chat_core::conformance!(
//!     reopen: || async { MemoryStore::new() },
//!     async |place: &MemoryStore| place.clone(),
//!     async |store: MemoryStore| drop(store)
//! );
//! # fn main() {}
//! ```
//!
//! The rules are ordinary async functions, grouped by trait: a test of your own may call them one by one. A rule passes by returning and fails
//! by panicking. [`run`] gives it a runtime with two threads and [`RULE_TIME_MAX`].

pub mod delivery;
pub mod log;
pub mod presence;
pub mod reopen;
mod sample;

use std::time::Duration;

/// How long one rule may take before it counts as failed.
pub const RULE_TIME_MAX: Duration = Duration::from_secs(120);

/// Runs one rule against a new store. What `setup` answers beside the store lives until the rule has ended.
///
/// # Panics
/// If the rule fails or takes longer than [`RULE_TIME_MAX`].
pub fn run<S, G>(setup: impl AsyncFnOnce() -> (S, G), rule: impl AsyncFnOnce(S)) {
    block_on(async {
        let (store, _guard) = setup().await;
        rule(store).await;
    });
}

/// Runs something against a new place.
///
/// # Panics
/// As [`run`].
pub fn run_at<P>(setup: impl AsyncFnOnce() -> P, rule: impl AsyncFnOnce(&P)) {
    block_on(async {
        let place = setup().await;
        rule(&place).await;
    });
}

fn block_on(rule: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime can be started");
    let done = runtime.block_on(async { tokio::time::timeout(RULE_TIME_MAX, rule).await });
    done.expect("the rule took too long");
}

/// One `#[test]` for each rule of the contracts; see [the module](mod@crate::conformance).
#[macro_export]
macro_rules! conformance {
    (log: $setup:expr $(,)?) => {
        $crate::__conformance_rules! { $setup, log:
            a_repeat_answers_the_first_position_and_stores_nothing
            the_same_key_from_many_tasks_at_once_is_stored_once
            different_drafts_with_one_key_at_once_leave_one_winner
            another_text_is_a_conflict
            other_attachments_are_a_conflict
            another_kind_is_a_conflict
            another_display_name_is_no_conflict
            keys_are_apart_per_author_and_room
            offsets_are_dense
            concurrent_appends_are_dense
            a_dropped_append_leaves_no_hole
            repeats_and_conflicts_leave_no_hole
            each_fingerprint_continues_the_one_before
            an_append_is_visible_to_every_later_read
            the_first_append_mints_the_epoch
            an_entry_is_read_as_it_was_appended
            bodies_come_back_byte_for_byte
            rooms_of_any_name_are_apart
            authors_of_any_id_are_apart
            keys_of_any_text_are_apart
            a_page_is_the_run_after_the_position
            a_page_is_limited_in_bytes
            pages_join_without_hole_or_repeat
            a_position_of_another_epoch_is_lost
            a_position_beyond_the_head_is_lost
            a_position_before_the_trimmed_one_is_lost
            offset_0_is_valid_in_every_epoch
            an_unwritten_room_is_an_empty_page
            bounds_come_in_the_order_asked_for
            bounds_of_thousands_of_rooms_are_answered_at_once
            asking_about_a_room_stores_nothing
            the_bounds_of_a_new_room_begin_at_0
            the_identity_stays
            trim_forgets_up_to_and_including_the_position
            a_room_trimmed_to_its_head_goes_on_counting
            trim_is_idempotent
            trim_beyond_the_head_or_in_another_epoch_does_nothing
            trim_leaves_other_rooms_alone
            keys_outlive_trimmed_entries
            redact_removes_the_body_and_nothing_else
            a_repeat_of_a_redacted_entry_is_a_duplicate
            redact_is_idempotent_and_ignores_what_names_no_entry
            redactions_are_counted
            a_redacted_entry_keeps_its_fingerprint_when_trimmed
            a_new_epoch_keeps_entries_and_offsets
            appends_go_on_in_the_new_epoch
            a_second_renewal_from_the_same_epoch_learns_the_new_one
            renewals_at_once_agree_on_one_epoch
            a_new_epoch_is_of_one_room_only
        }
        #[test]
        fn another_store_has_another_identity() {
            $crate::conformance::run($setup, async |one| {
                let (two, _guard) = $setup().await;
                $crate::conformance::log::another_store_has_another_identity(one, two).await;
            });
        }
    };
    (delivery: $setup:expr $(,)?) => {
        $crate::__conformance_rules! { $setup, delivery:
            every_listener_hears_the_news_unchanged
            a_watch_is_in_force_when_it_returns
            a_listener_hears_only_of_watched_rooms
            rooms_can_be_unwatched_and_watched_again
            a_listener_that_leaves_disturbs_nobody
            a_listener_that_falls_behind_hears_all_or_interrupted
            an_append_that_says_announced_is_heard
            each_ticket_is_larger_than_those_before
            tickets_drawn_at_once_are_all_different
            progress_is_what_was_advanced_to
            progress_never_moves_back_within_an_epoch
            a_position_of_another_epoch_replaces_progress
            advances_at_once_keep_the_largest
            progress_is_apart_by_kind_subscriber_and_room
            progress_comes_in_the_order_asked_for
        }
    };
    (presence: $setup:expr $(,)?) => {
        $crate::__conformance_rules! { $setup, presence:
            the_first_and_the_last_seat_are_edges
            taking_a_seat_twice_is_taking_it_once
            leaving_an_unknown_seat_changes_nothing
            versions_grow_by_one_with_every_edge
            edges_are_decided_once_under_concurrency
            every_edge_has_a_version_of_its_own
            a_change_of_name_is_an_edge
            a_roster_names_each_user_once_in_order
            a_roster_is_read_in_pages
            rooms_have_their_own_rosters
            a_lease_is_held_by_renewing_it
            nodes_whose_lease_has_lapsed_are_named
            lapsed_seats_count_until_they_are_evicted
            an_eviction_tells_every_departure
            an_eviction_leaves_nothing_of_the_node
            evictions_at_once_tell_every_departure_once
        }
    };
    (reopen: $place:expr, $open:expr, $close:expr $(,)?) => {
        $crate::__conformance_reopen_rules! { $place, $open, $close;
            what_was_appended_is_there_after_reopening
            keys_are_remembered_after_reopening
            what_was_trimmed_and_redacted_stays_gone_after_reopening
            a_room_trimmed_to_its_head_goes_on_counting_after_reopening
            a_new_epoch_stays_after_reopening
            the_identity_stays_after_reopening
            progress_is_remembered_after_reopening
        }
    };
    ($setup:expr $(,)?) => {
        $crate::conformance!(log: $setup);
        $crate::conformance!(delivery: $setup);
        $crate::conformance!(presence: $setup);
    };
}

/// One test for each rule that takes a store.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_rules {
    ($setup:expr, $of:ident: $($rule:ident)*) => {
        $(
            #[test]
            fn $rule() {
                $crate::conformance::run($setup, async |store| $crate::conformance::$of::$rule(store).await);
            }
        )*
    };
}

/// One test for each rule that opens a store twice.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_reopen_rules {
    ($place:expr, $open:expr, $close:expr; $($rule:ident)*) => {
        $(
            #[test]
            fn $rule() {
                $crate::conformance::run_at($place, async |place| {
                    let (open, close) = ($open, $close);
                    $crate::conformance::reopen::$rule(async || open(place).await, close).await;
                });
            }
        )*
    };
}
