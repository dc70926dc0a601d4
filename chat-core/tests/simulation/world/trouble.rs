//! What befalls the nodes and the store: crashes, outages, listeners that end, and a store that forgets.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chat_core::*;
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::timeout;

use super::{PATIENCE, QUIET, World};
use crate::trace::Event;

impl World {
    pub(super) async fn make_trouble(self: Arc<Self>) {
        let mut random = self.random(3_000);
        for _ in 0..random.random_range(2..14) {
            self.pause(&mut random, 3_000).await;
            let room = self.rooms[random.random_range(0..self.rooms.len())].clone();
            match random.random_range(0..10) {
                0 => self.crash(&mut random).await,
                1 => self.shut_down(&mut random).await,
                2 => self.trim(&mut random, &room).await,
                3 | 4 => self.redact(&mut random, &room).await,
                5 => self.deafen(&mut random),
                6 | 7 if self.rolls_back => self.roll_back(&mut random, &room),
                6 => self.deafen(&mut random),
                _ => self.outage(&mut random).await,
            }
        }
        // What is gone last is what copies are most likely to be left of.
        if random.random_bool(0.5) {
            for room in &self.rooms {
                self.redact(&mut random, room).await;
            }
        }
        self.is_calm.store(true, Ordering::SeqCst);
        self.nodes.lock().unwrap().iter().for_each(|node| node.faults.heal());
    }

    /// A node dies with all that it held in memory; another incarnation of it starts some time later.
    async fn crash(&self, random: &mut StdRng) {
        let number = {
            let mut nodes = self.nodes.lock().unwrap();
            let number = random.random_range(0..nodes.len());
            nodes[number].faults.crash();
            nodes[number].down.cancel();
            nodes[number].chat = None;
            number
        };
        self.record.add(Event::Crash);
        self.pause(random, 2_000).await;
        self.replace_node(random, number).await;
    }

    /// A node ends in good order, in the middle of whatever goes on.
    async fn shut_down(&self, random: &mut StdRng) {
        let (number, chat, down) = {
            let nodes = self.nodes.lock().unwrap();
            let number = random.random_range(0..nodes.len());
            // Posters still find it and are sent away.
            (number, nodes[number].chat.clone().unwrap(), nodes[number].down.clone())
        };
        timeout(QUIET, chat.shutdown()).await.expect("a node can be shut down");
        self.record.add(Event::ShutDown);
        self.pause(random, 500).await;
        down.cancel();
        self.nodes.lock().unwrap()[number].chat = None;
        drop(chat);
        self.replace_node(random, number).await;
    }

    async fn replace_node(&self, random: &mut StdRng, number: usize) {
        let node = self.start_node(random.random()).await;
        self.nodes.lock().unwrap()[number] = node;
    }

    fn deafen(&self, random: &mut StdRng) {
        let nodes = self.nodes.lock().unwrap();
        nodes[random.random_range(0..nodes.len())].deafen.notify_one();
        self.record.add(Event::Deafened);
    }

    async fn outage(&self, random: &mut StdRng) {
        let faults = {
            let nodes = self.nodes.lock().unwrap();
            nodes[random.random_range(0..nodes.len())].faults.clone()
        };
        faults.outage();
        self.pause(random, 4_000).await;
        faults.inflict(self.rates);
    }

    /// By a node, or by somebody else who works on the same store.
    async fn trim(&self, random: &mut StdRng, room: &RoomId) {
        let Bounds { trimmed, head, .. } = self.record.bounds(room);
        let offset = random.random_range(trimmed.offset().get()..=head.offset().get());
        let upto = Position { offset: Offset::new(offset).unwrap(), ..head.position };
        self.record.now();
        match self.any_node(random).filter(|_| random.random_bool(0.5)) {
            // Whether it happened is seen in the store.
            Some((chat, _)) => drop(timeout(PATIENCE, chat.trim(room, upto)).await),
            None => self.store.trim(room, upto).await.unwrap(),
        }
        self.record.now();
    }

    async fn redact(&self, random: &mut StdRng, room: &RoomId) {
        // The text is to be known before it is gone.
        self.record.now();
        let Bounds { trimmed, head, .. } = self.record.bounds(room);
        if head.offset() == trimmed.offset() {
            return;
        }
        let offset = random.random_range(trimmed.offset().get() + 1..=head.offset().get());
        let at = Position { offset: Offset::new(offset).unwrap(), ..head.position };
        match self.any_node(random).filter(|_| random.random_bool(0.7)) {
            Some((chat, _)) => drop(timeout(PATIENCE, chat.redact(room, at)).await),
            None => self.store.redact(room, at).await.unwrap(),
        }
        self.record.now();
    }

    fn roll_back(&self, random: &mut StdRng, room: &RoomId) {
        let Bounds { trimmed, head, .. } = self.record.bounds(room);
        let kept = head.offset().get() - trimmed.offset().get();
        let lost = random.random_range(0..4).min(kept);
        if 0 < lost {
            self.record.now();
            self.store.roll_back(room, lost as usize);
            self.record.rolled_back(room, head.offset().get() - lost);
        }
    }
}
