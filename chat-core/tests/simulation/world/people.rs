//! People on several devices: they join rooms and leave them, look at what is theirs, and say how far they have read.

use std::sync::Arc;
use std::time::Duration;

use chat_core::*;
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::{sleep, timeout};

use super::{PATIENCE, World, pick, user};
use crate::trace::Event;

/// All of them, two of each person.
pub(super) const DEVICES: u64 = 4;
const PEOPLE: u64 = 2;
/// Rooms that nothing is said in.
const CLUBS: u64 = 4;

impl World {
    pub(super) async fn live_on(self: Arc<Self>, device: u64) {
        let mut random = self.random(4_000 + device);
        let person = person(device % PEOPLE);
        let pause_ms_max = pick(&mut random, &[20, 200]);
        // In some runs so many that the facts are compacted again and again.
        for _ in 0..random.random_range(5..200) {
            self.pause(&mut random, pause_ms_max).await;
            let Some((chat, _)) = self.any_node(&mut random) else { continue };
            match random.random_range(0..10) {
                0..4 => {
                    let room = club(random.random_range(0..CLUBS));
                    self.remember(&chat, &person, room).await;
                }
                4..7 => self.forget(&mut random, &chat, &person).await,
                7 => self.look(&chat, &person).await,
                _ => self.mark(&mut random, &chat, &person).await,
            }
        }
    }

    /// When all is quiet: everybody gets what they want, and every node says the same of them.
    pub(super) async fn look_at_everybody(&self) {
        let nodes = self.nodes.lock().unwrap().clone();
        let chat = nodes.iter().find_map(|node| node.chat.as_ref()).filter(|_| self.has_people);
        for (chat, number) in chat.iter().flat_map(|chat| (0..PEOPLE).map(move |number| (chat, number))) {
            for room in (0..CLUBS).map(club) {
                if !self.remember_in_the_end(chat, &person(number), &room).await {
                    self.record.add(Event::Stuck { person: person(number).to_string(), room });
                }
            }
        }
        for chat in nodes.iter().filter_map(|node| node.chat.as_ref()) {
            for number in 0..PEOPLE {
                self.look(chat, &person(number)).await;
                self.marks(chat, &person(number)).await;
            }
        }
    }

    /// A node that was without its store may take a moment to be back.
    async fn remember_in_the_end(&self, chat: &Chat, person: &UserId, room: &RoomId) -> bool {
        for _ in 0..50 {
            if self.remember(chat, person, room.clone()).await {
                return true;
            }
            sleep(Duration::from_millis(100)).await;
        }
        false
    }

    async fn remember(&self, chat: &Chat, person: &UserId, room: RoomId) -> bool {
        let asked = self.record.now();
        self.record.add(Event::RememberAsked { person: person.to_string(), room: room.clone() });
        if let Ok(Ok(handle)) = timeout(PATIENCE, chat.remember_room(person, &room)).await {
            let person = person.to_string();
            self.record.add(Event::Remembered { person, room, asked, handle: handle.get() });
            return true;
        }
        self.record.add(Event::Failed);
        false
    }

    async fn forget(&self, random: &mut StdRng, chat: &Chat, person: &UserId) {
        let room = club(random.random_range(0..CLUBS));
        let asked = self.record.now();
        self.record.add(Event::ForgetAsked { person: person.to_string(), room: room.clone() });
        if let Ok(Ok(())) = timeout(PATIENCE, chat.forget_room(person, &room)).await {
            self.record.add(Event::Forgot { person: person.to_string(), room, asked });
        } else {
            self.record.add(Event::Failed);
        }
    }

    async fn look(&self, chat: &Chat, person: &UserId) {
        let asked = self.record.now();
        if let Ok(Ok(own)) = timeout(PATIENCE, chat.own_rooms(person)).await {
            let rooms = own.rooms.into_iter().map(|own| (own.room, own.handle.get())).collect();
            self.record.add(Event::Listed { person: person.to_string(), asked, rooms });
        }
    }

    async fn mark(&self, random: &mut StdRng, chat: &Chat, person: &UserId) {
        let room = self.rooms[random.random_range(0..self.rooms.len())].clone();
        let asked = self.record.now();
        let upto = Offset::new(random.random_range(0..30)).unwrap();
        if let Ok(Ok(reached)) = timeout(PATIENCE, chat.mark_read(person, &room, upto)).await {
            let (person, reached) = (person.to_string(), reached.get());
            self.record.add(Event::MarkedRead { person, room, asked, reached });
        }
    }

    async fn marks(&self, chat: &Chat, person: &UserId) {
        let asked = self.record.now();
        let Ok(Ok(marks)) = timeout(PATIENCE, chat.read_marks_of(person, &self.rooms)).await else { return };
        for (room, reached) in self.rooms.iter().zip(marks) {
            let (person, room, reached) = (person.to_string(), room.clone(), reached.get());
            self.record.add(Event::MarkedRead { person, room, asked, reached });
        }
    }
}

fn person(number: u64) -> UserId {
    user(&format!("person {number}"))
}

fn club(number: u64) -> RoomId {
    RoomId::new(&format!("club {number}")).unwrap()
}
