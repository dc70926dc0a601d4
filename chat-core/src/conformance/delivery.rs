//! The rules of [`Delivery`], one function for each.
//!
//! News may be lost, repeated and reordered by contract, and a listener may always be told `Interrupted` instead. So a rule about news asks
//! for what a store must do when nothing is wrong with it, accepts `Interrupted` wherever the contract does, and ignores repeats.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt;
use tokio::time::{Instant, timeout, timeout_at};

use super::sample::*;
use crate::delivery::{Delivery, Heard, Listener, News, Progress, Ticket};
use crate::entry::{Body, Entry, Kind, Timestamp};
use crate::id::{NodeId, RoomId};
use crate::log::{Appended, MessageLog};
use crate::notice::{Notice, Typing};
use crate::position::{Bookmark, Epoch, Fingerprint};
use crate::presence::Edge;

fn epoch() -> Epoch {
    Epoch::from_random(u64::MAX / 3)
}

fn grown(room: &RoomId, offset: u64) -> News {
    let head = Bookmark { position: at(epoch(), offset), fingerprint: Fingerprint::from_number(offset) };
    News::Grown { room: room.clone(), head }
}

fn notice(room: &RoomId, notice: Notice) -> News {
    News::Notice { room: room.clone(), from: NodeId(u64::MAX), notice }
}

fn entry(offset: u64) -> Entry {
    Entry {
        position: at(epoch(), offset),
        kind: Kind::Message,
        author: author("ada\"'"),
        key: key("k\0\n"),
        at: Timestamp::from_millis(1_700_000_000_123),
        fingerprint: Fingerprint::from_number(u64::MAX),
        body: Some(body("tëxt\0", &[b"", b"\0\xff", b"x"])),
    }
}

async fn listen(store: &impl Delivery, rooms: &[&RoomId]) -> Listener {
    let listener = store.listen().await.expect("listen");
    for room in rooms {
        listener.interest.watch(room).await.expect("watch");
    }
    listener
}

async fn announce(store: &impl Delivery, news: &News) {
    store.announce(news).await.expect("announce");
}

async fn hear(listener: &mut Listener) -> Heard {
    let heard = timeout(SOON, listener.heard.next()).await;
    heard.expect("the listener heard nothing").expect("what a listener hears ends only with the store")
}

/// Waits until the listener has heard `news`, or that it may have missed it.
async fn hears(listener: &mut Listener, news: &News) {
    loop {
        match hear(listener).await {
            Heard::Interrupted => return,
            Heard::News(heard) if heard == *news => return,
            Heard::News(_) => {}
        }
    }
}

/// Announces again whenever the listener was interrupted, until it has heard `news` itself. Answers everything that it heard.
async fn hears_itself(store: &impl Delivery, listener: &mut Listener, news: &News) -> Vec<Heard> {
    let mut all = Vec::new();
    let deadline = Instant::now() + SOON;
    announce(store, news).await;
    loop {
        let heard = timeout_at(deadline, listener.heard.next()).await;
        let heard = heard.unwrap_or_else(|_| panic!("{news:?} was never heard, but {all:?}"));
        let heard = heard.expect("what a listener hears ends only with the store");
        all.push(heard.clone());
        match heard {
            Heard::News(heard) if heard == *news => return all,
            Heard::News(_) => {}
            Heard::Interrupted => announce(store, news).await,
        }
    }
}

/// Each kind of news arrives as it was announced, at every listener that watches the room, the announcer's own included.
pub async fn every_listener_hears_the_news_unchanged(store: impl Delivery + Clone) {
    let room = room("a '{}' 😀");
    let other = store.clone();
    let mut listeners =
        [listen(&store, &[&room]).await, listen(&store, &[&room]).await, listen(&other, &[&room]).await];
    let entry = entry(7);
    let redacted = Entry { body: None, kind: Kind::Fact, ..entry.clone() };
    let all = [
        News::Appended { room: room.clone(), entry: Arc::new(entry.clone()) },
        News::Appended { room: room.clone(), entry: Arc::new(redacted) },
        News::Grown { room: room.clone(), head: entry.bookmark() },
        News::Redacted { room: room.clone(), position: entry.position },
        notice(&room, Notice::Presence { who: entry.author.clone(), change: Edge::Renamed, version: 7 }),
        notice(&room, Notice::Typing { who: entry.author.clone(), typing: Typing::Started }),
        notice(&room, Notice::Read { user: entry.author.id.clone(), offset: entry.position.offset }),
        News::TakenOver {
            room: room.clone(),
            user: entry.author.id.clone(),
            connection: connection("c '{}' 😀"),
            ticket: Ticket(1 << 53),
        },
    ];
    for news in &all {
        for listener in &mut listeners {
            hears_itself(&store, listener, news).await;
        }
    }
}

/// Once `watch` has returned, what is announced is heard, or that something may have been missed.
pub async fn a_watch_is_in_force_when_it_returns(store: impl Delivery + Clone) {
    let mut listener = listen(&store, &[]).await;
    for number in 0..50 {
        let room = room(&format!("room {number}"));
        listener.interest.watch(&room).await.expect("watch");
        let news = grown(&room, 1);
        announce(&store, &news).await;
        hears(&mut listener, &news).await;
    }
}

/// A listener hears of the rooms that it watches and of no other, whatever other listeners watch.
pub async fn a_listener_hears_only_of_watched_rooms(store: impl Delivery + Clone) {
    let names = odd_names();
    let rooms = names.iter().map(|name| room(name)).collect::<Vec<_>>();
    let (watched, others) = rooms.split_at(names.len() / 2);
    let mut listener = listen(&store, &watched.iter().collect::<Vec<_>>()).await;
    let _elsewhere = listen(&store, &others.iter().collect::<Vec<_>>()).await;
    for room in others {
        announce(&store, &grown(room, 1)).await;
    }
    for room in watched {
        let heard = hears_itself(&store, &mut listener, &grown(room, 1)).await;
        for heard in heard {
            if let Heard::News(news) = heard {
                assert!(watched.contains(news.room()), "heard of {:?} without watching it", news.room());
            }
        }
    }
}

/// Watching twice is watching once, a room that is not watched can be unwatched, and an unwatched room can be watched again.
pub async fn rooms_can_be_unwatched_and_watched_again(store: impl Delivery + Clone) {
    let (a, b) = (room("a"), room("b"));
    let mut listener = listen(&store, &[&a, &b, &a]).await;
    for round in 1..=3 {
        for _ in 0..2 {
            listener.interest.unwatch(&a).await.expect("unwatch");
        }
        announce(&store, &grown(&a, 100 + round)).await;
        hears_itself(&store, &mut listener, &grown(&b, round)).await;
        for _ in 0..2 {
            listener.interest.watch(&a).await.expect("watch");
        }
        hears_itself(&store, &mut listener, &grown(&a, round)).await;
    }
}

/// That one listener unwatches a room or is dropped takes nothing from the others.
pub async fn a_listener_that_leaves_disturbs_nobody(store: impl Delivery + Clone) {
    let room = room("a");
    let mut stays = listen(&store, &[&room]).await;
    let unwatches = listen(&store, &[&room]).await;
    unwatches.interest.unwatch(&room).await.expect("unwatch");
    hears_itself(&store, &mut stays, &grown(&room, 1)).await;
    drop(listen(&store, &[&room]).await);
    drop(unwatches);
    hears_itself(&store, &mut stays, &grown(&room, 2)).await;
    drop(stays);
    announce(&store, &grown(&room, 3)).await;
    let mut late = listen(&store, &[&room]).await;
    hears_itself(&store, &mut late, &grown(&room, 4)).await;
}

/// A listener that is not polled while 12 MB are announced hears it all afterwards, or `Interrupted`; and then what follows.
pub async fn a_listener_that_falls_behind_hears_all_or_interrupted(store: impl Delivery + Clone) {
    const COUNT: u64 = 3_000;
    let room = room("a");
    let mut listener = listen(&store, &[&room]).await;
    for offset in 1..=COUNT {
        let entry = Entry { body: Some(Body::text("x".repeat(4_096))), ..entry(offset) };
        announce(&store, &News::Appended { room: room.clone(), entry: Arc::new(entry) }).await;
    }
    let mut missing = (1..=COUNT).collect::<BTreeSet<_>>();
    while !missing.is_empty() {
        match hear(&mut listener).await {
            Heard::News(News::Appended { entry, .. }) => missing.remove(&entry.position.offset.get()),
            Heard::News(other) => panic!("{other:?} was not announced"),
            Heard::Interrupted => break,
        };
    }
    hears_itself(&store, &mut listener, &grown(&room, COUNT + 1)).await;
}

/// An append that answers that it was announced has been: whoever watched the room hears the entry, as it is stored.
pub async fn an_append_that_says_announced_is_heard(store: impl MessageLog + Delivery + Clone) {
    let room = room("a");
    let mut listener = listen(&store, &[&room]).await;
    for number in 0..10 {
        let appended = store.append(&room, draft(&number.to_string())).await.expect("append");
        if let Appended::Fresh { entry, announced: true } = appended {
            hears(&mut listener, &News::Appended { room: room.clone(), entry: Arc::new(entry) }).await;
        }
    }
}

/// A ticket is larger than each that was answered before, through any handle.
pub async fn each_ticket_is_larger_than_those_before(store: impl Delivery + Clone) {
    let mut before = store.ticket().await.expect("ticket");
    for _ in 0..50 {
        for handle in [store.clone(), store.clone()] {
            let next = handle.ticket().await.expect("ticket");
            assert!(before < next, "{next:?} after {before:?}");
            before = next;
        }
    }
}

/// Of many that are drawn at the same time no two are alike.
pub async fn tickets_drawn_at_once_are_all_different(store: impl Delivery + Clone) {
    let tickets = at_once((0..64).map(|_| {
        let store = store.clone();
        async move { store.ticket().await.expect("ticket") }
    }))
    .await;
    assert_eq!(tickets.iter().collect::<BTreeSet<_>>().len(), tickets.len());
}

/// Advancing answers how far the reader now is, and every later question is answered the same, through any handle.
pub async fn progress_is_what_was_advanced_to(store: impl Delivery + Clone) {
    let (room, who) = (room("a"), subscriber("s"));
    assert_eq!(progress(&store, Progress::Read, "s", &room).await, None);
    for offset in [1, 2, 7] {
        let upto = at(epoch(), offset);
        assert_eq!(store.advance(Progress::Read, &who, &room, upto).await.expect("advance"), upto);
        assert_eq!(progress(&store.clone(), Progress::Read, "s", &room).await, Some(upto));
    }
}

/// Within an epoch, the larger offset stays, and is the answer.
pub async fn progress_never_moves_back_within_an_epoch(store: impl Delivery + Clone) {
    let (room, who) = (room("a"), subscriber("s"));
    let mut furthest = 0;
    for offset in [5, 3, 5, 0, 1, 9, 8, (1 << 53) - 1, 2] {
        furthest = furthest.max(offset);
        let answer = store.advance(Progress::Received, &who, &room, at(epoch(), offset)).await;
        assert_eq!(answer.expect("advance"), at(epoch(), furthest), "after {offset}");
        assert_eq!(progress(&store, Progress::Received, "s", &room).await, Some(at(epoch(), furthest)));
    }
}

/// A position of another epoch replaces what was there, also a larger offset.
pub async fn a_position_of_another_epoch_replaces_progress(store: impl Delivery + Clone) {
    let (room, who) = (room("a"), subscriber("s"));
    for upto in [at(epoch(), 9), at(other_than(epoch()), 4), at(epoch(), 1)] {
        assert_eq!(store.advance(Progress::Read, &who, &room, upto).await.expect("advance"), upto);
        assert_eq!(progress(&store, Progress::Read, "s", &room).await, Some(upto));
    }
}

/// Of many calls at the same time the largest offset stays, and none is answered with less than its own.
pub async fn advances_at_once_keep_the_largest(store: impl Delivery + Clone) {
    let room = room("a");
    let answers = at_once((1..=32).map(|offset| {
        let (store, room) = (store.clone(), room.clone());
        async move {
            let answer =
                store.advance(Progress::Received, &subscriber("s"), &room, at(epoch(), offset)).await;
            (offset, answer.expect("advance").offset.get())
        }
    }))
    .await;
    for (own, answered) in answers {
        assert!(own <= answered, "advanced to {own}, answered {answered}");
    }
    assert_eq!(progress(&store, Progress::Received, "s", &room).await, Some(at(epoch(), 32)));
}

/// What was received and what was read, subscribers and rooms are all apart, whatever their names.
pub async fn progress_is_apart_by_kind_subscriber_and_room(store: impl Delivery + Clone) {
    let names = odd_names();
    let mut all = vec![("a", "b:c"), ("a:b", "c"), ("a", "b|c"), ("a|b", "c"), ("a", "b c"), ("a b", "c")];
    all.extend(names.iter().map(|name| (name.as_str(), "same")));
    all.extend(names.iter().map(|name| ("same", name.as_str())));
    let all = all.into_iter().collect::<BTreeSet<_>>();
    let numbered = || (1..).step_by(2).zip(&all);
    for (number, (who, name)) in numbered() {
        for (what, number) in [(Progress::Received, number), (Progress::Read, number + 1)] {
            let upto = at(epoch(), number);
            let answer = store.advance(what, &subscriber(who), &room(name), upto).await;
            assert_eq!(answer.expect("advance"), upto, "{who:?} in {name:?}");
        }
    }
    for (number, (who, name)) in numbered() {
        for (what, number) in [(Progress::Received, number), (Progress::Read, number + 1)] {
            let known = progress(&store, what, who, &room(name)).await;
            assert_eq!(known, Some(at(epoch(), number)), "{who:?} in {name:?}");
        }
    }
}

/// Answers come in the order asked for, one for each room, also for thousands; `None` where nothing is remembered.
pub async fn progress_comes_in_the_order_asked_for(store: impl Delivery + Clone) {
    let who = subscriber("s");
    assert_eq!(store.progress(Progress::Read, &who, &[]).await.expect("progress"), []);
    let mut rooms = (0..3_000).map(|number| room(&format!("room {number}"))).collect::<Vec<_>>();
    let mut expected = vec![None; rooms.len()];
    for index in (0..rooms.len()).rev().step_by(307) {
        let upto = at(epoch(), index as u64 + 1);
        store.advance(Progress::Read, &who, &rooms[index], upto).await.expect("advance");
        expected[index] = Some(upto);
    }
    rooms.push(rooms[0].clone());
    rooms.push(rooms[2_999].clone());
    expected.push(expected[0]);
    expected.push(expected[2_999]);
    assert!(store.progress(Progress::Read, &who, &rooms).await.expect("progress") == expected, "in order");
}

pub(super) async fn progress(
    store: &impl Delivery,
    what: Progress,
    who: &str,
    room: &RoomId,
) -> Option<crate::Position> {
    let answers = store.progress(what, &subscriber(who), std::slice::from_ref(room)).await.expect("progress");
    assert_eq!(answers.len(), 1, "one answer for one room");
    answers[0]
}
