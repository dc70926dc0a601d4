//! The laws, each a statement about a trace. Knows nothing of the engine.
//!
//! `truth.rs` is what the store had at each moment, the other files are the laws of those who post, read, scroll and have rooms.

mod people;
mod posts;
mod readers;
mod scrolls;
mod truth;

use crate::trace::Trace;
use people::People;
use posts::Posts;
use readers::Readers;
use truth::Truth;

/// Everything that is wrong with a trace; empty if the promises were kept.
pub(crate) fn violations(trace: &Trace) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut truth = Truth::default();
    let mut posts = Posts::default();
    let mut people = People::default();
    let mut readers = Readers::new(trace.first_visit_entries_max);
    for (now, event) in trace.events.iter().enumerate() {
        truth.learn(now, event, &mut wrong);
        posts.check(&truth, event, &mut wrong);
        people.check(&truth, now, event, &mut wrong);
        readers.check(&truth, event, &mut wrong);
        scrolls::check(&truth, event, &mut wrong);
    }
    posts.finish(&truth, &mut wrong);
    readers.finish(&truth, &mut wrong);
    wrong
}
