//! The real engine on one thread with a paused clock, several nodes over one store, seeded faults, and a checker for the promises.
//!
//! `cargo nextest run -p chat-core --all-features --test simulation` runs some thousands of seeds; `CHAT_SEEDS=100000` runs more. A seed
//! that fails is named with the command that replays it: `CHAT_SEED=7 … --no-capture one_seed`. Laws are in `oracle.rs`, what happens in `world.rs`, and who may do
//! what in `rule.rs`.
#![allow(clippy::unwrap_used)]

mod oracle;
mod people;
mod rule;
mod trace;
mod world;

use chat_core::mutants::{Mutant, mutate};
use oracle::violations;
use trace::Trace;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// Runs one seed; the trace and what is wrong with it.
fn run(seed: u64) -> (Trace, Vec<String>) {
    let trace = world::run(seed);
    let wrong = violations(&trace);
    (trace, wrong)
}

fn assert_holds(seed: u64) {
    let (trace, wrong) = run(seed);
    assert!(
        wrong.is_empty(),
        "seed {seed}: {}\nreplay: CHAT_SEED={seed} cargo nextest run -p chat-core --all-features --test simulation --no-capture one_seed\n({} events)",
        wrong.join("\n"),
        trace.events.len(),
    );
}

/// Four parts, so that a test runner can use more than one core.
fn a_quarter_of_the_seeds(part: u64) {
    let seeds = number("CHAT_SEEDS", 2_000);
    for seed in (part..seeds).step_by(4) {
        assert_holds(seed);
    }
}

#[test]
fn the_promises_hold_under_faults_1_of_4() {
    a_quarter_of_the_seeds(0);
}

#[test]
fn the_promises_hold_under_faults_2_of_4() {
    a_quarter_of_the_seeds(1);
}

#[test]
fn the_promises_hold_under_faults_3_of_4() {
    a_quarter_of_the_seeds(2);
}

#[test]
fn the_promises_hold_under_faults_4_of_4() {
    a_quarter_of_the_seeds(3);
}

#[test]
fn one_seed() {
    let seed = number("CHAT_SEED", 0);
    let (trace, wrong) = run(seed);
    println!("{trace}");
    assert!(wrong.is_empty(), "seed {seed}: {}", wrong.join("\n"));
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..20 {
        let (first, second) = (world::run(seed).to_string(), world::run(seed).to_string());
        assert!(first == second, "seed {seed} is not deterministic");
    }
}

/// The simulation is of use only if it goes where things can break.
#[test]
fn the_simulation_meets_every_kind_of_trouble() {
    let mut seen = std::collections::BTreeMap::<&str, u64>::new();
    for seed in 0..300 {
        for (what, count) in world::run(seed).counts() {
            *seen.entry(what).or_default() += count;
        }
    }
    for what in [
        "acked",
        "duplicate",
        "conflict",
        "forbidden",
        "failed",
        "saw",
        "resumed",
        "told lost",
        "crash",
        "trim",
        "roll back",
        "cut in the middle",
        "shut down",
        "deafened",
        "redact",
        "napped",
        "left",
        "resumed by offset",
        "paged",
        "stayed",
        "remembered",
        "forgot",
        "listed",
        "marked",
    ] {
        assert!(20 < seen.get(what).copied().unwrap_or_default(), "{what}: {seen:?}");
    }
}

/// Whether some seed shows that the engine is broken in this way.
fn is_caught(mutant: Mutant) -> bool {
    mutate(Some(mutant));
    let caught = (0..2_000)
        .find(|seed| std::panic::catch_unwind(|| run(*seed)).map_or(true, |(_, wrong)| !wrong.is_empty()));
    mutate(None);
    println!("{mutant:?} is caught by seed {caught:?}");
    caught.is_some()
}

macro_rules! mutants {
    ($($name:ident => $mutant:ident)*) => {
        mod the_checker_notices_an_engine_that {
            use super::{Mutant, is_caught};
            $(
                #[test]
                fn $name() {
                    assert!(is_caught(Mutant::$mutant));
                }
            )*
        }
    };
}

mutants! {
    shows_entries_across_a_hole => ShowAcrossHoles
    answers_before_the_commit => AnswerBeforeCommit
    drops_the_deduplication => DropDeduplication
    shows_what_was_refused => ShowRefused
    never_compares_with_the_log => NeverSweep
    hides_a_loss => HideLoss
    repeats_a_page => RepeatPage
    skips_at_the_hand_over_from_log_to_tail => SkipAtHandOver
    believes_a_fingerprint => BelieveFingerprint
    resumes_at_the_head => ResumeAtHead
    asks_no_authority => SkipAuthority
    cries_wolf => CryWolf
    heals_without_waking_anybody => HealSilently
    swallows_a_conflict => SwallowConflict
    asks_no_authority_for_a_post => PostUnasked
    begins_a_first_visit_at_the_head => BeginAtHead
    goes_on_at_the_head_after_a_loss => SkipAfterLoss
    shows_more_than_a_first_visit_may_have => IgnoreFirstVisitMax
    wakes_every_other_reader => WakeEveryOther
    tells_a_loss_again => TellLossAgain
    delivers_from_a_room_that_was_left => StayAfterLeave
    forgets_whose_turn_it_is_when_a_room_is_left => StrandOnLeave
    redacts_only_what_it_is_told_of => RedactOnNewsOnly
    hands_out_pages_from_before_a_redaction => HandOutOldPages
    keeps_pages_of_rooms_that_it_does_not_watch => KeepPagesOfClosedRooms
    caches_pages_that_still_grow => CacheGrowingPages
    watches_nothing_with_another_ear => ListenToNothing
    ignores_interruptions => IgnoreInterruptions
    keeps_a_failed_opening => KeepFailedOpening
    asks_no_authority_for_a_page => ScrollUnasked
    leaves_a_message_out_of_a_page => SkipInHistory
    ends_history_where_the_epoch_changes => EndHistoryAtEpoch
    ignores_where_a_page_is_to_end => IgnoreBefore
    opens_private_rooms_to_others => OpenPrivateRooms
    tells_nobody_of_a_private_room => TellNobody
    trims_facts_before_the_snapshot_is_stored => TrimBeforeSnapshot
    names_facts_by_what_they_say_alone => ForgetWhatWasLeft
    confirms_a_read_mark_that_it_does_not_store => MarkReadInMemory
}

fn assert_people_converge(seed: u64) {
    let wrong = people::run(seed);
    assert!(
        wrong.is_empty(),
        "seed {seed}: {}\nreplay: CHAT_SEED={seed} cargo nextest run -p chat-core --all-features --test simulation one_seed_of_people",
        wrong.join("\n")
    );
}

#[test]
fn everybody_comes_to_know_who_is_there_within_the_bound() {
    (0..number("CHAT_SEEDS", 1_000)).for_each(assert_people_converge);
}

#[test]
fn one_seed_of_people() {
    assert_people_converge(number("CHAT_SEED", 0));
}

fn is_caught_among_people(mutant: Mutant) -> bool {
    mutate(Some(mutant));
    let caught = (0..8_000).find(|seed| !people::run(*seed).is_empty());
    mutate(None);
    println!("{mutant:?} is caught by seed {caught:?}");
    caught.is_some()
}

macro_rules! mutants_among_people {
    ($($name:ident => $mutant:ident)*) => {
        mod the_checker_of_presence_notices_an_engine_that {
            use super::{Mutant, is_caught_among_people};
            $(
                #[test]
                fn $name() {
                    assert!(is_caught_among_people(Mutant::$mutant));
                }
            )*
        }
    };
}

mutants_among_people! {
    never_compares_who_is_there => NeverSweepPresence
    goes_on_after_its_lease_has_lapsed => ForgetLapse
    believes_every_renewal => BelieveRenewals
    never_evicts_a_dead_node => NeverEvict
    gives_a_seat_up_only_once => LeaveOnce
}
