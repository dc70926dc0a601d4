//! The laws of those who scroll up: pages of history are true, whole, the newest that were asked for, and within their limits.

use chat_core::Action;

use super::truth::Truth;
use crate::rule::may;
use crate::trace::{Event, Line};

pub(super) fn check(truth: &Truth, event: &Event, wrong: &mut Vec<String>) {
    let Event::Paged { name, room, before, limit, asked, lines } = event else { return };
    if !may(name, room, Action::History) {
        wrong.push(format!("{name} may not have a page of {room}"));
    }
    let before = before.unwrap_or(u64::MAX);
    let page = format!("the page of {room} before {before} for {name}");
    for line in lines {
        truth.check_line(name, room, line, wrong);
        if !line.is_message || before <= line.offset {
            wrong.push(format!("{page} has {line:?}"));
        }
    }
    let bytes: usize = lines.iter().map(|line| line.bytes).sum();
    if (limit.messages.max(1) as usize) < lines.len() || (1 < lines.len() && limit.bytes < bytes) {
        wrong.push(format!("{page} is larger than {limit:?}"));
    }
    let Some(log) = truth.log(room) else { return };
    for pair in lines.windows(2) {
        let between = pair[0].offset + 1..pair[1].offset;
        let is_message = |offset: &u64| log.lines.get(offset).is_some_and(|line| line.is_message);
        if pair[1].offset <= pair[0].offset || between.clone().any(|offset| is_message(&offset)) {
            wrong.push(format!("{page} leaves out what is between {:?} and {:?}", pair[0], pair[1]));
        }
    }
    // What was forgotten while it was read may be in it or not.
    if log.shrank_since(*asked) {
        return;
    }
    let last = lines.last().map_or(log.trimmed, |line| line.offset);
    let newer = last + 1..before.min(log.head_at(*asked) + 1);
    let missing: Option<&Line> =
        newer.into_iter().filter_map(|offset| log.lines.get(&offset)).find(|line| line.is_message);
    if let Some(missing) = missing {
        wrong.push(format!("{page} does not have {missing:?}"));
    }
}
