//! Clients that read: cut off now and then, slow, coming and going, and back at any node with what they have.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chat_core::*;
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::{sleep, timeout};

use super::{Node, PATIENCE, QUIET, World, pick};
use crate::trace::{Event, Line};

/// One person's client.
struct Client {
    number: usize,
    name: String,
    random: StdRng,
    habit: Habit,
    /// What it has of each room.
    places: Vec<Option<Bookmark>>,
    /// How long the trace was when its place in each room moved last.
    moved: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum Habit {
    /// Is cut off after some steps.
    Restless,
    /// Stays for as long as its node is there.
    Faithful,
    /// Stays, and does not look at what it is sent until all trouble is over.
    Drowsy,
}

/// How a session ended.
#[derive(PartialEq)]
enum Ended {
    /// There is nothing more to come.
    Arrived,
    Cut,
}

impl World {
    pub(super) async fn read(self: Arc<Self>, number: usize) {
        let mut client = self.client(number);
        loop {
            // Asked before the session: the last one of a restless client begins after the last fault.
            let is_last = self.is_calm();
            if let Some((chat, down)) = self.any_node(&mut client.random)
                // A node that is down answers nothing and hands out nothing.
                && down.run_until_cancelled(self.session(&mut client, &chat, is_last)).await
                    == Some(Ended::Arrived)
            {
                return self.record.add(Event::Arrived { stayed: !is_last });
            }
            self.record.add(Event::Cut { reader: number });
            // Also for so long that rooms are closed meanwhile.
            let away_ms_max = pick(&mut client.random, &[1_000, 1_000, 10_000]);
            self.pause(&mut client.random, away_ms_max).await;
        }
    }

    /// Somebody who comes to a node when all is quiet, and reads and scrolls through whatever is there.
    pub(super) async fn read_all(self: Arc<Self>, number: usize, node: &Node) {
        let Some(chat) = &node.chat else { return };
        let mut client = self.client(number);
        client.habit = Habit::Faithful;
        self.session(&mut client, chat, true).await;
        for room in &self.rooms {
            let mut before = None;
            while let Some(first) = self.scroll(&mut client, chat, room, before).await {
                before = Some(first);
            }
        }
    }

    fn client(&self, number: usize) -> Client {
        let mut random = self.random(2_000 + number as u64);
        let habit = pick(&mut random, &[Habit::Restless, Habit::Restless, Habit::Faithful, Habit::Drowsy]);
        let places = vec![None; self.rooms.len()];
        Client {
            number,
            name: format!("reader {number}"),
            random,
            habit,
            places,
            moved: vec![0; self.rooms.len()],
        }
    }

    async fn session(&self, client: &mut Client, chat: &Chat, is_last: bool) -> Ended {
        let reader = chat.reader(UserId::new(&client.name).unwrap());
        for number in 0..self.rooms.len() {
            let since = self.since(client, number);
            for attempt in 0.. {
                if self.join(client, &reader, number, since).await {
                    break;
                }
                if !is_last {
                    return Ended::Cut;
                }
                // What was begun under the faults may still fail, but nothing else.
                assert!(
                    attempt < 3,
                    "{} is not let into {} though all is well",
                    client.name,
                    self.rooms[number]
                );
                sleep(Duration::from_secs(1)).await;
            }
        }
        let stays = is_last || client.habit != Habit::Restless;
        let steps = if stays { usize::MAX } else { client.random.random_range(1..20) };
        let patience = if stays { QUIET } else { PATIENCE };
        let mut naps = client.habit == Habit::Drowsy;
        for _ in 0..steps {
            let was_calm = self.is_calm();
            let budget = Budget {
                entries: client.random.random_range(1..=6),
                bytes: pick(&mut client.random, &[1, 1_000, 100_000]),
            };
            let dozes = !is_last && (naps || client.random.random_bool(0.1));
            let patience =
                if dozes { Duration::from_millis(client.random.random_range(0..20)) } else { patience };
            let step = timeout(patience, reader.next(budget)).await;
            match step {
                // A question to the log may be under way, and is not looked after.
                Err(_) if dozes => {
                    self.record.add(Event::Napped);
                    if std::mem::take(&mut naps) && client.random.random_bool(0.7) {
                        self.settled.cancelled().await;
                    } else {
                        self.pause(&mut client.random, 10_000).await;
                    }
                }
                Err(_) if stays && was_calm => return Ended::Arrived,
                Err(_) if stays => {}
                Err(_) => return Ended::Cut,
                Ok(step) => {
                    let received = stays || client.random.random_bool(0.9);
                    self.take(client, step, received);
                    if !received {
                        return Ended::Cut;
                    }
                }
            }
            if !is_last && client.random.random_bool(0.1) && !self.wander(client, chat, &reader).await {
                return Ended::Cut;
            }
        }
        Ended::Cut
    }

    /// What a client does beside reading; `false` if it could not come back to a room.
    async fn wander(&self, client: &mut Client, chat: &Chat, reader: &Reader) -> bool {
        let number = client.random.random_range(0..self.rooms.len());
        let room = &self.rooms[number];
        match client.random.random_range(0..4) {
            // Gone for a while.
            0 if reader.leave(room) => {
                self.record.add(Event::Left { reader: client.number, room: room.clone() });
                if client.random.random_bool(0.5) {
                    let budget = Budget::default();
                    if let Ok(step) = timeout(Duration::from_millis(10), reader.next(budget)).await {
                        self.take(client, step, true);
                    }
                }
                let since = self.since(client, number);
                self.join(client, reader, number, since).await
            }
            // To another place in a room where it is, or to the same.
            1 => {
                let since = self.since(client, number);
                let visit = pick(&mut client.random, &[Since::Start, Since::Last(2), Since::Now, since]);
                self.join(client, reader, number, visit).await
            }
            _ => {
                let before = client.places[number].map(|place| place.offset().get());
                let before = before.filter(|_| client.random.random_bool(0.5));
                self.scroll(client, chat, room, before).await;
                true
            }
        }
    }

    /// Where a client asks to begin in a room.
    fn since(&self, client: &mut Client, number: usize) -> Since {
        match client.places[number] {
            None => pick(
                &mut client.random,
                &[Since::Start, Since::Now, Since::Last(3), Since::Offset(Offset::ZERO)],
            ),
            // A bare offset cannot tell two histories apart, and a bare 0 is a first visit.
            Some(place)
                if !self.rolls_back && place.offset() != Offset::ZERO && client.random.random_bool(0.2) =>
            {
                Since::Offset(place.offset())
            }
            Some(place) => Since::Bookmark(place),
        }
    }

    /// `false` if it is to be tried again; whoever may not be in the room need not.
    async fn join(&self, client: &mut Client, reader: &Reader, number: usize, since: Since) -> bool {
        let room = &self.rooms[number];
        let asked = self.record.now();
        let mut join = pin!(reader.join(room, since));
        if client.random.random_bool(0.1) {
            // Begun, and not looked after.
            if let Ok(joined) = timeout(Duration::ZERO, &mut join).await {
                return self.joined(client, number, since, asked, joined);
            }
            self.pause(&mut client.random, 6_000).await;
        }
        match timeout(PATIENCE, join).await {
            Ok(joined) => self.joined(client, number, since, asked, joined),
            Err(_) => false,
        }
    }

    fn joined(
        &self,
        client: &mut Client,
        number: usize,
        since: Since,
        asked: usize,
        joined: Result<Joined, ChatError>,
    ) -> bool {
        let room = self.rooms[number].clone();
        match joined {
            Ok(Joined { start, lost, .. }) => {
                if !lost {
                    client.places[number] = Some(start);
                }
                client.moved[number] = asked;
                let (reader, name) = (client.number, client.name.clone());
                self.record.add(Event::Joined { reader, name, room, since, asked, start, lost });
                true
            }
            Err(ChatError::Forbidden) => true,
            Err(_) => false,
        }
    }

    fn take(&self, client: &mut Client, step: Step, received: bool) {
        let number_of = |room: &RoomId| self.rooms.iter().position(|other| other == room).unwrap();
        let reader = client.number;
        match step {
            Step::Run(Run { room, entries }) => {
                let number = number_of(&room);
                if received {
                    client.places[number] = entries.last().map(|entry| entry.bookmark());
                }
                let lines = entries.iter().map(|entry| Line::of(entry)).collect();
                self.record.add(Event::Saw { reader, room, lines, received });
                client.moved[number] = self.record.now();
            }
            Step::Lost { room, start, .. } => {
                let number = number_of(&room);
                if received {
                    client.places[number] = Some(start);
                }
                let asked = client.moved[number];
                self.record.add(Event::ToldLost { reader, room, asked, start, received });
                client.moved[number] = self.record.now();
            }
            _ => {}
        }
    }

    /// One page of history; answers where the page before it ends, if there is one.
    async fn scroll(
        &self,
        client: &mut Client,
        chat: &Chat,
        room: &RoomId,
        before: Option<u64>,
    ) -> Option<u64> {
        let limit = HistoryLimit {
            messages: pick(&mut client.random, &[1, 3, 50]),
            bytes: pick(&mut client.random, &[1, 1_000, 2_000_000]),
            attachments: 10,
        };
        let asked = self.record.now();
        let name = client.name.clone();
        let from = before.map(|before| Offset::new(before).unwrap());
        let who = UserId::new(&name).unwrap();
        let Ok(Ok(page)) = timeout(PATIENCE, chat.history(&who, room, from, limit)).await else {
            return None;
        };
        let lines: Vec<Line> = page.messages.iter().map(Line::of).collect();
        self.record.add(Event::Paged { name, room: room.clone(), before, limit, asked, lines });
        Some(page.from.get()).filter(|_| page.bounds.oldest() < page.from)
    }
}
