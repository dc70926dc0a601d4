//! The conformance kit must be able to fail: each flaw that a backend may have is caught by the rule that forbids it, and in its words.
#![allow(clippy::unwrap_used)]

mod flawed;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chat_core::MemoryStore;
use chat_core::conformance::{delivery, log, presence, reopen};
use flawed::{Flaw, Flawed};

/// Runs a rule on one thread and a paused clock, so that waiting in vain takes no time. Answers in which words it failed.
fn verdict(rule: impl AsyncFnOnce(Flawed), flaw: Flaw) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let outcome = catch_unwind(AssertUnwindSafe(|| runtime.unwrap().block_on(rule(Flawed::new(flaw)))));
    outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

macro_rules! flaws {
    ($($flaw:ident: $of:ident::$rule:ident, $words:literal;)*) => {
        #[test]
        fn each_flaw_is_caught_by_the_rule_that_forbids_it() {
            let mut missed = Vec::new();
            $(
                let answer = verdict(async |store| $of::$rule(store).await, Flaw::$flaw);
                if !matches!(&answer, Err(message) if message.contains($words)) {
                    missed.push(format!("{:?}: {} answered {answer:?}", Flaw::$flaw, stringify!($rule)));
                }
            )*
            assert!(missed.is_empty(), "{missed:#?}");
        }

        #[test]
        fn without_a_flaw_each_of_these_rules_passes() {
            $(
                assert_eq!(verdict(async |store| $of::$rule(store).await, Flaw::None), Ok(()), stringify!($rule));
            )*
        }
    };
}

flaws! {
    NoDeduplication: log::a_repeat_answers_the_first_position_and_stores_nothing, "Duplicate";
    FreshTwice: log::the_same_key_from_many_tasks_at_once_is_stored_once, "fresh answers";
    NoDeduplication: log::different_drafts_with_one_key_at_once_leave_one_winner, "Entry";
    ConflictsAreSwallowed: log::another_text_is_a_conflict, "Conflict";
    AttachmentsAreNotCompared: log::other_attachments_are_a_conflict, "Conflict";
    AttachmentsAreJoined: log::other_attachments_are_a_conflict, "Conflict";
    KindsAreNotCompared: log::another_kind_is_a_conflict, "Conflict";
    NamesAreCompared: log::another_display_name_is_no_conflict, "Duplicate";
    KeysAreSharedByAuthors: log::keys_are_apart_per_author_and_room, "expected a fresh entry";
    KeysAreSharedByAuthors: log::authors_of_any_id_are_apart, "expected a fresh entry";
    KeysIgnoreTrailingNul: log::keys_of_any_text_are_apart, "expected a fresh entry";
    RoomsIgnoreCase: log::rooms_of_any_name_are_apart, "expected a fresh entry";
    DroppedAppendsLeaveAHole: log::a_dropped_append_leaves_no_hole, "left == right";
    ConflictsLeaveAHole: log::repeats_and_conflicts_leave_no_hole, "left == right";
    AttachmentsAreJoined: log::bodies_come_back_byte_for_byte, "the body at";
    AttachmentsAreJoined: log::an_entry_is_read_as_it_was_appended, "attachments";
    ReadsFromThePosition: log::a_page_is_the_run_after_the_position, "after 1, at most 1";
    ReadsFromThePosition: log::pages_join_without_hole_or_repeat, "left == right";
    ReadsIgnoreTheEntryLimit: log::a_page_is_the_run_after_the_position, "at most 1 entries";
    PageHeadIsItsLastEntry: log::a_page_is_the_run_after_the_position, "the head, whatever part was read";
    ReadsIgnoreTheByteLimit: log::a_page_is_limited_in_bytes, "bytes where";
    LargeEntriesAreNotRead: log::a_page_is_limited_in_bytes, "at least one entry";
    EpochsAreNotCompared: log::a_position_of_another_epoch_is_lost, "expected Lost";
    BeyondTheHeadIsEmpty: log::a_position_beyond_the_head_is_lost, "expected Lost";
    TrimmedIsSkippedSilently: log::a_position_before_the_trimmed_one_is_lost, "expected Lost";
    BoundsAreStale: log::an_append_is_visible_to_every_later_read, "left == right";
    BoundsAreSorted: log::bounds_come_in_the_order_asked_for, "left == right";
    BoundsAreSorted: log::bounds_of_thousands_of_rooms_are_answered_at_once, "in order";
    AskingMintsAnEpoch: log::asking_about_a_room_stores_nothing, "left == right";
    EveryHandleHasAnIdentity: log::the_identity_stays, "asked again";
    TrimKeepsTheLast: log::trim_forgets_up_to_and_including_the_position, "left == right";
    TrimForgetsTheFingerprint: log::trim_forgets_up_to_and_including_the_position, "with the fingerprint";
    TrimForgetsTheFingerprint: log::a_redacted_entry_keeps_its_fingerprint_when_trimmed, "left == right";
    TrimIgnoresTheEpoch: log::trim_beyond_the_head_or_in_another_epoch_does_nothing, "after trimming to";
    TrimForgetsTheHead: log::a_room_trimmed_to_its_head_goes_on_counting, "left == right";
    TrimForgetsKeys: log::keys_outlive_trimmed_entries, "trimmed to 1";
    RedactDoesNothing: log::redact_removes_the_body_and_nothing_else, "left == right";
    RedactForgetsKeys: log::a_repeat_of_a_redacted_entry_is_a_duplicate, "Duplicate";
    RedactionsAreNotCounted: log::redactions_are_counted, "after redacting";
    RedactionsAreForgottenWhenTrimmed: log::redactions_are_counted, "left == right";
    LossTellsNoRedactions: log::redactions_are_counted, "of what is lost";
    RenewIgnoresFrom: log::a_second_renewal_from_the_same_epoch_learns_the_new_one, "from Epoch";
    RenewIgnoresFrom: log::renewals_at_once_agree_on_one_epoch, "Bounds";
    NothingIsHeard: delivery::every_listener_hears_the_news_unchanged, "was never heard";
    WatchingTakesAWhile: delivery::a_watch_is_in_force_when_it_returns, "heard nothing";
    EverythingIsHeard: delivery::a_listener_hears_only_of_watched_rooms, "without watching it";
    UnwatchIsForAll: delivery::a_listener_that_leaves_disturbs_nobody, "was never heard";
    LaggingIsSilent: delivery::a_listener_that_falls_behind_hears_all_or_interrupted, "heard nothing";
    AppendsAreNotAnnounced: delivery::an_append_that_says_announced_is_heard, "heard nothing";
    TicketsStandStill: delivery::each_ticket_is_larger_than_those_before, "Ticket(1) after Ticket(1)";
    TicketsAreNumberedByTime: delivery::tickets_drawn_at_once_are_all_different, "left == right";
    ProgressMovesBack: delivery::progress_never_moves_back_within_an_epoch, "after 3";
    ProgressMovesBack: delivery::advances_at_once_keep_the_largest, "left == right";
    ProgressSticksToItsEpoch: delivery::a_position_of_another_epoch_replaces_progress, "left == right";
    ProgressKindsAreOne: delivery::progress_is_apart_by_kind_subscriber_and_room, "left == right";
    EveryDeviceArrives: presence::the_first_and_the_last_seat_are_edges, "Arrived";
    EveryDeviceArrives: presence::edges_are_decided_once_under_concurrency, "of [Changed";
    SeatsAreCounted: presence::taking_a_seat_twice_is_taking_it_once, "\"ada\", 2";
    VersionsSkip: presence::versions_grow_by_one_with_every_edge, "left == right";
    VersionsSkip: presence::every_edge_has_a_version_of_its_own, "left == right";
    RosterIsUnordered: presence::a_roster_names_each_user_once_in_order, "left == right";
    FirstNamesStay: presence::a_change_of_name_is_an_edge, "left == right";
    RenamesAreSilent: presence::a_change_of_name_is_an_edge, "Ada L.";
    PagesBeginAtTheUser: presence::a_roster_is_read_in_pages, "left == right";
    PagesAreUnlimited: presence::a_roster_is_read_in_pages, "at most 0";
    TotalIsOfThePage: presence::a_roster_is_read_in_pages, "left == right";
    DeparturesHaveNoNames: presence::an_eviction_tells_every_departure, "ada in a";
    LapsedSeatsVanish: presence::lapsed_seats_count_until_they_are_evicted, "left == right";
    LeasesLastForever: presence::nodes_whose_lease_has_lapsed_are_named, "never lapsed";
    EvictionsAreNotTold: presence::an_eviction_tells_every_departure, "left == right";
    EvictionsAreToldAgain: presence::an_eviction_leaves_nothing_of_the_node, "left == right";
    EvictionsAreToldAgain: presence::evictions_at_once_tell_every_departure_once, "left == right";
}

#[test]
fn a_store_that_forgets_everything_fails_each_rule_of_reopening() {
    macro_rules! fails {
        ($($rule:ident)*) => {$(
            let forgets = async |_| reopen::$rule(async || MemoryStore::new(), async |store| drop(store)).await;
            assert_ne!(verdict(forgets, Flaw::None), Ok(()), stringify!($rule));
            let keeps = async |store: Flawed| {
                reopen::$rule(async || store.clone(), async |store| drop(store)).await;
            };
            assert_eq!(verdict(keeps, Flaw::None), Ok(()), stringify!($rule));
        )*};
    }
    fails! {
        what_was_appended_is_there_after_reopening
        keys_are_remembered_after_reopening
        what_was_trimmed_and_redacted_stays_gone_after_reopening
        a_room_trimmed_to_its_head_goes_on_counting_after_reopening
        a_new_epoch_stays_after_reopening
        the_identity_stays_after_reopening
        progress_is_remembered_after_reopening
    }
}

#[test]
fn a_store_that_gives_the_last_offset_of_a_trimmed_room_out_again_is_caught_when_it_is_reopened() {
    let rule = async |store: Flawed| {
        let (open, close) = (async || store.clone(), async |store| drop(store));
        reopen::a_room_trimmed_to_its_head_goes_on_counting_after_reopening(open, close).await;
    };
    assert_eq!(verdict(rule, Flaw::None), Ok(()));
    assert!(verdict(rule, Flaw::TrimForgetsTheHead).unwrap_err().contains("at once"));
}

#[test]
fn two_stores_with_one_identity_are_caught() {
    let twins = async |store: Flawed| log::another_store_has_another_identity(store.clone(), store).await;
    assert!(verdict(twins, Flaw::None).unwrap_err().contains("share an identity"));
}

/// A rule that the macro does not name would be run by nobody.
#[test]
fn the_macro_names_every_rule() {
    let macros = include_str!("../../src/conformance/mod.rs");
    let named = macros.split_whitespace().collect::<BTreeSet<_>>();
    let sources = [
        include_str!("../../src/conformance/log/append.rs"),
        include_str!("../../src/conformance/log/bounds.rs"),
        include_str!("../../src/conformance/log/content.rs"),
        include_str!("../../src/conformance/log/epoch.rs"),
        include_str!("../../src/conformance/log/forget.rs"),
        include_str!("../../src/conformance/log/read.rs"),
        include_str!("../../src/conformance/delivery.rs"),
        include_str!("../../src/conformance/presence.rs"),
        include_str!("../../src/conformance/reopen.rs"),
    ];
    let rules = sources.iter().flat_map(|source| source.split("\npub async fn ").skip(1));
    let names = rules.map(|rule| rule.split(['(', '<']).next().unwrap()).collect::<Vec<_>>();
    assert!(80 <= names.len(), "{} rules found", names.len());
    let forgotten =
        names.into_iter().filter(|name| !named.contains(name) && !macros.contains(&format!("{name}()")));
    assert_eq!(forgotten.collect::<Vec<_>>(), [""; 0]);
}
