//! What callers build on, checked by the compiler: traits are objects, handles cross threads, futures are `Send`.

use std::fmt::Debug;

use chat_core::fault::Faults;
use chat_core::*;

fn send<T: Send>(_: &T) {}

const fn is_shared<T: ?Sized + Debug + Send + Sync + 'static>() {}
const fn is_handle<T: Clone + Debug + Send + Sync + 'static>() {}

const _: () = {
    is_shared::<dyn MessageLog>();
    is_shared::<dyn Delivery>();
    is_shared::<dyn Presence>();
    is_shared::<dyn Interest>();
    is_shared::<dyn Authority>();
    is_shared::<StoreError>();
    is_shared::<Reader>();
    is_handle::<Backends>();
    is_handle::<MemoryStore>();
    is_handle::<LocalNews>();
    is_handle::<LocalPresence>();
    is_handle::<Faults>();
    is_handle::<Chat>();
    is_handle::<Entry>();
    is_handle::<News>();
};

/// A task may own a listener.
const fn is_sent<T: Debug + Send + 'static>() {}
const _: () = is_sent::<Listener>();

/// Never called: that it compiles is the test.
#[allow(dead_code, clippy::too_many_arguments)]
fn every_future_can_be_spawned(
    backends: &Backends,
    room: &RoomId,
    draft: Draft,
    position: Position,
    limit: PageLimit,
    news: &News,
    who: &SubscriberId,
    (seat, name): (&Seat, &DisplayName),
    interest: &dyn Interest,
) {
    let rooms = std::slice::from_ref(room);
    let Backends { log, delivery, presence } = backends;
    send(&log.append(room, draft));
    send(&log.read(room, position, limit));
    send(&log.bounds(rooms));
    send(&log.trim(room, position));
    send(&log.redact(room, position));
    send(&log.renew_epoch(room, position.epoch));
    send(&log.identity());
    send(&delivery.announce(news));
    send(&delivery.listen());
    send(&delivery.advance(Progress::Read, who, room, position));
    send(&delivery.progress(Progress::Read, who, rooms));
    send(&presence.enter(seat, name));
    send(&presence.leave(seat));
    send(&presence.renew(seat.node, std::time::Duration::from_secs(1)));
    send(&presence.roster(room, Some(&seat.user), 1));
    send(&presence.lapsed(1));
    send(&presence.evict(seat.node));
    send(&interest.watch(room));
    send(&interest.unwatch(room));
}

/// Never called: the engine's calls can be spawned, too, and over any mix of backends.
#[allow(dead_code)]
fn the_engine_can_be_spawned(chat: &Chat, reader: &Reader, room: &RoomId, draft: Draft) {
    send(&chat.post(room, draft));
    send(&chat.bounds(room));
    send(&chat.shutdown());
    send(&reader.join(room, Since::Start));
    send(&reader.next(Budget::default()));
}

#[test]
fn backends_may_be_mixed() {
    let (one, other) = (MemoryStore::new(), MemoryStore::new());
    let mixed =
        Backends { presence: std::sync::Arc::new(LocalPresence::default()), ..Backends::from_store(one) };
    let mixed = Backends { delivery: Backends::from_store(other).delivery, ..mixed };
    assert!(format!("{mixed:?}").contains("LocalPresence"));
}
