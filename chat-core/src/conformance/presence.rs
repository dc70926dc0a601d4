//! The rules of [`Presence`], one function for each.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::sample::*;
use crate::id::NodeId;
use crate::presence::{Changed, Departure, Edge, Member, Presence, Renewed, Seat};

/// Longer than any rule takes.
const LONG: Duration = Duration::from_secs(3_600);
/// Short enough to wait for; rules never count on its not having passed.
const SHORT: Duration = Duration::from_millis(20);

async fn enter(store: &impl Presence, seat: &Seat) -> Changed {
    enter_as(store, seat, "Name").await
}

async fn enter_as(store: &impl Presence, seat: &Seat, shown: &str) -> Changed {
    store.enter(seat, &name(shown)).await.expect("enter")
}

async fn leave(store: &impl Presence, seat: &Seat) -> Changed {
    store.leave(seat).await.expect("leave")
}

async fn renew(store: &impl Presence, node: u64, lease: Duration) -> Renewed {
    store.renew(NodeId(node), lease).await.expect("renew")
}

/// The version of a room, and each of its users with the number of their devices.
async fn roster(store: &impl Presence, name: &str) -> (u64, Vec<(String, u32)>) {
    let roster = store.roster(&room(name), None, 1_000).await.expect("roster");
    assert_eq!(roster.total, roster.members.len() as u64, "of {name:?}");
    let member = |Member { user, devices, .. }: &Member| (user.as_str().to_owned(), *devices);
    (roster.version, roster.members.iter().map(member).collect())
}

async fn has_lapsed(store: &impl Presence, node: u64) {
    let deadline = Instant::now() + SOON;
    while !store.lapsed(100).await.expect("lapsed").contains(&NodeId(node)) {
        assert!(Instant::now() < deadline, "the lease of node {node} never lapsed");
        sleep(SHORT / 4).await;
    }
}

/// A user's first seat in a room is an arrival, the last one given up a departure, and nothing in between is an edge.
pub async fn the_first_and_the_last_seat_are_edges(store: impl Presence + Clone) {
    renew(&store, 1, LONG).await;
    renew(&store, 2, LONG).await;
    let (phone, laptop) = (seat("a", "ada", "phone", 1), seat("a", "ada", "laptop", 2));
    for _ in 0..3 {
        assert_eq!(enter(&store, &phone).await.edge, Some(Edge::Arrived));
        assert_eq!(enter(&store, &laptop).await.edge, None);
        assert_eq!(leave(&store, &phone).await.edge, None);
        assert_eq!(enter(&store, &phone).await.edge, None);
        assert_eq!(leave(&store, &laptop).await.edge, None);
        assert_eq!(leave(&store, &phone).await.edge, Some(Edge::Left));
    }
}

/// Taking a seat again changes nothing.
pub async fn taking_a_seat_twice_is_taking_it_once(store: impl Presence + Clone) {
    renew(&store, 1, LONG).await;
    let seat = seat("a", "ada", "phone", 1);
    let first = enter(&store, &seat).await;
    assert_eq!(enter(&store, &seat).await, Changed { edge: None, ..first });
    assert_eq!(roster(&store, "a").await.1, [("ada".to_owned(), 1)]);
    assert_eq!(leave(&store, &seat).await.edge, Some(Edge::Left));
}

/// Giving up a seat that nobody has changes nothing, neither in a room nor in one that nobody was ever in.
pub async fn leaving_an_unknown_seat_changes_nothing(store: impl Presence + Clone) {
    renew(&store, 1, LONG).await;
    assert_eq!(leave(&store, &seat("never", "ada", "phone", 1)).await.edge, None);
    assert_eq!(roster(&store, "never").await.1, []);
    let taken = enter(&store, &seat("a", "ada", "phone", 1)).await;
    for unknown in [
        seat("a", "ada", "laptop", 1),
        seat("a", "ada", "phone", 2),
        seat("a", "bob", "phone", 1),
        seat("b", "ada", "phone", 1),
    ] {
        assert_eq!(leave(&store, &unknown).await.edge, None, "{unknown:?}");
    }
    assert_eq!(roster(&store, "a").await, (taken.version, vec![("ada".to_owned(), 1)]));
}

/// Each edge makes the room's version one larger, nothing else does, and the roster tells the version that it is of.
pub async fn versions_grow_by_one_with_every_edge(store: impl Presence + Clone) {
    renew(&store, 1, LONG).await;
    let mut version = roster(&store, "a").await.0;
    let (ada, ada_too, bob) =
        (seat("a", "ada", "phone", 1), seat("a", "ada", "laptop", 1), seat("a", "bob", "phone", 1));
    for _ in 0..3 {
        for (enters, seat) in
            [(true, &ada), (true, &ada_too), (true, &bob), (false, &ada), (false, &ada_too), (false, &bob)]
        {
            let changed = if enters { enter(&store, seat).await } else { leave(&store, seat).await };
            version += u64::from(changed.edge.is_some());
            assert_eq!(changed.version, version, "{seat:?}");
            assert_eq!(roster(&store.clone(), "a").await.0, version);
        }
    }
    enter(&store, &seat("b", "ada", "phone", 1)).await;
    assert_eq!(roster(&store, "a").await.0, version, "another room has its own version");
}

/// Of many seats that one user takes at the same time one is the arrival; of many given up, one is the departure.
pub async fn edges_are_decided_once_under_concurrency(store: impl Presence + Clone) {
    renew(&store, 1, LONG).await;
    let mut version = roster(&store, "a").await.0;
    for _ in 0..4 {
        for enters in [true, false] {
            let changes = at_once((0..16).map(|number| {
                let store = store.clone();
                async move {
                    let seat = seat("a", "ada", &format!("c{number}"), 1);
                    if enters { enter(&store, &seat).await } else { leave(&store, &seat).await }
                }
            }))
            .await;
            let edges = changes.iter().filter(|changed| changed.edge.is_some()).collect::<Vec<_>>();
            version += 1;
            let expected = if enters { Edge::Arrived } else { Edge::Left };
            assert_eq!(edges, [&Changed { version, edge: Some(expected) }], "of {changes:?}");
        }
    }
}

/// Many users that come and go at the same time each get a version of their own, without a gap.
pub async fn every_edge_has_a_version_of_its_own(store: impl Presence + Clone) {
    renew(&store, 1, LONG).await;
    let before = roster(&store, "a").await.0;
    let changes = at_once((0..24).map(|number| {
        let store = store.clone();
        async move {
            let seat = seat("a", &format!("user {number}"), "c", 1);
            let arrived = enter(&store, &seat).await;
            [arrived, leave(&store, &seat).await]
        }
    }))
    .await;
    assert!(changes.iter().flatten().all(|changed| changed.edge.is_some()), "{changes:?}");
    let versions = changes.iter().flatten().map(|changed| changed.version).collect::<BTreeSet<_>>();
    assert_eq!(Vec::from_iter(versions), Vec::from_iter(before + 1..=before + 48));
}

/// A roster names each user of the room once, with the number of their connections, in order of their ids (by code point).
pub async fn a_roster_names_each_user_once_in_order(store: impl Presence + Clone) {
    renew(&store, 1, LONG).await;
    renew(&store, 2, LONG).await;
    let mut expected = Vec::new();
    for (number, id) in odd_names().into_iter().enumerate() {
        let devices = number % 3 + 1;
        for device in 0..devices {
            enter(&store, &seat("a", &id, &format!("{number}.{device}"), device as u64 % 2 + 1)).await;
        }
        expected.push((id, devices as u32));
    }
    expected.sort();
    assert_eq!(roster(&store, "a").await.1, expected);
}

/// A user has one name in a room, that of the latest call. A call that changes it is an edge of its own, also where it takes no new seat.
pub async fn a_change_of_name_is_an_edge(store: impl Presence + Clone) {
    renew(&store, 1, LONG).await;
    renew(&store, 2, LONG).await;
    let (phone, laptop) = (seat("a", "ada", "phone", 1), seat("a", "ada", "laptop", 2));
    let mut version = enter_as(&store, &phone, "Ada").await.version;
    for (seat, shown, edge) in [
        (&phone, "Ada", None),
        (&laptop, "Ada", None),
        (&phone, "Ada L.", Some(Edge::Renamed)),
        (&phone, "Ada L.", None),
        (&laptop, "Ada", Some(Edge::Renamed)),
        (&laptop, "ada", Some(Edge::Renamed)),
    ] {
        version += u64::from(edge.is_some());
        assert_eq!(enter_as(&store, seat, shown).await, Changed { version, edge }, "{shown} at {seat:?}");
        let members = store.roster(&seat.room, None, 9).await.expect("roster").members;
        let told = members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>();
        assert_eq!(told, [shown], "after {shown} at {seat:?}");
    }
    leave(&store, &laptop).await;
    let members = store.roster(&phone.room, None, 9).await.expect("roster").members;
    assert_eq!(members, [Member { user: user("ada"), name: name("ada"), devices: 1 }], "the name stays");
    leave(&store, &phone).await;
    assert_eq!(enter_as(&store, &phone, "Ada").await.edge, Some(Edge::Arrived), "with a name of a new stay");
}

/// A page of a roster begins after the user asked for, and has at most as many users as asked for; version and total are those of the whole room.
pub async fn a_roster_is_read_in_pages(store: impl Presence + Clone) {
    renew(&store, 1, LONG).await;
    let mut ids = odd_names();
    for id in &ids {
        enter(&store, &seat("a", id, "c", 1)).await;
    }
    ids.sort();
    ids.dedup();
    let version = roster(&store, "a").await.0;
    let page = async |after: Option<&str>, limit| {
        let after = after.map(user);
        let page = store.roster(&room("a"), after.as_ref(), limit).await.expect("roster");
        assert_eq!((page.version, page.total), (version, ids.len() as u64), "after {after:?}, {limit}");
        page.members.into_iter().map(|member| member.user.as_str().to_owned()).collect::<Vec<_>>()
    };
    for from in 0..=ids.len() {
        let after = from.checked_sub(1).map(|last| ids[last].as_str());
        for limit in [0, 1, 3, 1_000] {
            let upto = (from + limit).min(ids.len());
            assert_eq!(page(after, limit as u32).await, ids[from..upto], "after {after:?}, at most {limit}");
        }
    }
    // A user who has left meanwhile is a place in the order, too.
    let gone = format!("{}!", ids[1]);
    let rest = ids.iter().filter(|id| **id > gone).cloned().collect::<Vec<_>>();
    assert_eq!(page(Some(&gone), 1_000).await, rest);
    let empty = store.roster(&room("b"), Some(&user("ada")), 5).await.expect("roster");
    assert_eq!((empty.total, empty.members), (0, vec![]));
}

/// Rooms are apart, whatever their names.
pub async fn rooms_have_their_own_rosters(store: impl Presence + Clone) {
    renew(&store, 1, LONG).await;
    let names = odd_names();
    for (number, name) in names.iter().enumerate() {
        let entered = enter(&store, &seat(name, &format!("user {number}"), "c", 1)).await;
        assert_eq!(entered.edge, Some(Edge::Arrived), "{name:?}");
    }
    for (number, name) in names.iter().enumerate() {
        assert_eq!(roster(&store, name).await.1, [(format!("user {number}"), 1)], "{name:?}");
    }
}

/// The first renewal of a node says that there was no lease; while it has not run out, each further one holds it.
pub async fn a_lease_is_held_by_renewing_it(store: impl Presence + Clone) {
    assert_eq!(renew(&store, 1, LONG).await, Renewed::Lapsed);
    assert_eq!(renew(&store, 1, LONG).await, Renewed::Held);
    assert_eq!(renew(&store, 2, LONG).await, Renewed::Lapsed, "each node has its own");
    assert_eq!(renew(&store.clone(), 1, LONG).await, Renewed::Held);
}

/// A node whose lease has run out and that has seats is named, a node with a lease or without seats is not.
pub async fn nodes_whose_lease_has_lapsed_are_named(store: impl Presence + Clone) {
    renew(&store, 1, SHORT).await;
    renew(&store, 2, LONG).await;
    renew(&store, 3, SHORT).await;
    enter(&store, &seat("a", "ada", "c", 1)).await;
    enter(&store, &seat("a", "bob", "c", 2)).await;
    has_lapsed(&store, 1).await;
    assert_eq!(store.lapsed(100).await.expect("lapsed"), [NodeId(1)]);
    enter(&store, &seat("a", "cyd", "c", 3)).await;
    has_lapsed(&store, 3).await;
    assert_eq!(store.lapsed(1).await.expect("lapsed").len(), 1, "at most as many as asked for");
    assert_eq!(renew(&store, 1, LONG).await, Renewed::Lapsed, "a lease that ran out is not held");
}

/// Seats of a node whose lease has lapsed count until somebody evicts them: edges and rosters never look at leases.
pub async fn lapsed_seats_count_until_they_are_evicted(store: impl Presence + Clone) {
    renew(&store, 1, SHORT).await;
    renew(&store, 2, LONG).await;
    enter(&store, &seat("a", "ada", "c", 1)).await;
    has_lapsed(&store, 1).await;
    assert_eq!(roster(&store, "a").await.1, [("ada".to_owned(), 1)]);
    assert_eq!(enter(&store, &seat("a", "ada", "d", 2)).await.edge, None);
    assert_eq!(store.evict(NodeId(1)).await.expect("evict"), []);
    assert_eq!(roster(&store, "a").await.1, [("ada".to_owned(), 1)]);
    assert_eq!(leave(&store, &seat("a", "ada", "d", 2)).await.edge, Some(Edge::Left));
}

/// An eviction removes every seat of the node and none of another, and tells each user that left by it, with the versions of the rooms.
pub async fn an_eviction_tells_every_departure(store: impl Presence + Clone) {
    renew(&store, 1, LONG).await;
    renew(&store, 2, LONG).await;
    for (room, user, connection, node) in [
        ("a", "ada", "1", 1),
        ("a", "ada", "2", 1),
        ("a", "bob", "3", 1),
        ("a", "bob", "4", 2),
        ("a", "cyd", "5", 1),
        ("b", "ada", "6", 1),
        ("c", "ada", "7", 2),
    ] {
        enter_as(&store, &seat(room, user, connection, node), &format!("{user} in {room}")).await;
    }
    let (in_a, in_b) = (roster(&store, "a").await.0, roster(&store, "b").await.0);
    let mut departures = store.evict(NodeId(1)).await.expect("evict");
    let versions_in_a = departures.iter().filter(|gone| gone.room == room("a")).map(|gone| gone.version);
    assert_eq!(versions_in_a.collect::<BTreeSet<_>>(), BTreeSet::from([in_a + 1, in_a + 2]));
    departures.sort_by_key(|gone| (gone.room.clone(), gone.user.clone()));
    let told = departures.iter().map(|gone| (gone.room.as_str(), gone.user.as_str())).collect::<Vec<_>>();
    assert_eq!(told, [("a", "ada"), ("a", "cyd"), ("b", "ada")]);
    let names = departures.iter().map(|gone| gone.name.as_str()).collect::<Vec<_>>();
    assert_eq!(names, ["ada in a", "cyd in a", "ada in b"]);
    assert_eq!(departures[2].version, in_b + 1);
    assert_eq!(roster(&store, "a").await, (in_a + 2, vec![("bob".to_owned(), 1)]));
    assert_eq!(roster(&store, "b").await, (in_b + 1, vec![]));
    assert_eq!(roster(&store, "c").await.1, [("ada".to_owned(), 1)]);
}

/// After an eviction nothing of the node is left: no lease, no seat, nothing to evict again.
pub async fn an_eviction_leaves_nothing_of_the_node(store: impl Presence + Clone) {
    renew(&store, 1, LONG).await;
    let gone = seat("a", "ada", "c", 1);
    enter(&store, &gone).await;
    let version = store.evict(NodeId(1)).await.expect("evict")[0].version;
    assert_eq!(store.evict(NodeId(1)).await.expect("evict"), []);
    assert_eq!(store.evict(NodeId(9)).await.expect("evict"), [], "a node that was never heard of");
    assert_eq!(store.lapsed(100).await.expect("lapsed"), []);
    assert_eq!(leave(&store, &gone).await, Changed { version, edge: None });
    assert_eq!(renew(&store, 1, LONG).await, Renewed::Lapsed);
    assert_eq!(enter(&store, &gone).await, Changed { version: version + 1, edge: Some(Edge::Arrived) });
}

/// Nodes that evict the same one at the same time tell each departure once between them.
pub async fn evictions_at_once_tell_every_departure_once(store: impl Presence + Clone) {
    for _ in 0..4 {
        renew(&store, 1, LONG).await;
        let mut expected = BTreeSet::new();
        for number in 0..20 {
            let (room_name, user_id) = (format!("room {}", number % 3), format!("user {number}"));
            enter(&store, &seat(&room_name, &user_id, "c", 1)).await;
            expected.insert((room(&room_name), user(&user_id)));
        }
        let told = at_once((0..4).map(|_| {
            let store = store.clone();
            async move { store.evict(NodeId(1)).await.expect("evict") }
        }))
        .await;
        let told = told.into_iter().flatten().map(|Departure { room, user, .. }| (room, user));
        let told = told.collect::<Vec<_>>();
        assert_eq!(told.len(), expected.len(), "{told:?}");
        assert_eq!(BTreeSet::from_iter(told), expected);
    }
}
