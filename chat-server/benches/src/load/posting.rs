//! Posting at the pace that was asked for: which post is due when, by whom, and when all is over.

use anyhow::{Result, bail};
use hdrhistogram::Histogram;

use super::PATIENCE_SECONDS;
use super::command::{Latency, Pace, Posted, Stream, StreamPosted};
use super::generator::{Generator, Measured, Room};
use crate::clock;

impl Generator {
    /// Posts all streams side by side, and waits until everything is answered and delivered, or nothing more comes.
    pub(super) fn post_all(&mut self, streams: &[Stream], text_bytes: usize) -> Result<Posted> {
        let begun = clock::now();
        let mut posting: Vec<Posting> = Vec::new();
        self.world.streams = streams.iter().map(|_| Measured::new()).collect();
        self.world.answered.clear();
        for (index, stream) in streams.iter().enumerate() {
            posting.push(Posting::new(stream, &self.world.rooms, begun));
            for room in &mut self.world.rooms[stream.rooms.clone()] {
                room.stream = Some(index);
            }
        }
        let (delivered_before, reads_before) = (self.world.delivered, self.world.reads);
        let mut expected = 0;
        let mut progress = (0, begun);
        for stream in &mut posting {
            for client in stream.at_once() {
                expected += self.world.rooms[self.clients[client].room as usize].readers;
                self.post(client, begun, text_bytes)?;
                stream.posted += 1;
            }
        }
        loop {
            let now = clock::now();
            while let Some(client) = self.world.answered.pop() {
                let room = &self.world.rooms[self.clients[client].room as usize];
                let Some(stream) = room.stream.map(|index| &mut posting[index]) else { continue };
                if stream.follows_up(now) {
                    expected += room.readers;
                    stream.posted += 1;
                    self.post(client, now, text_bytes)?;
                }
            }
            let mut next = u64::MAX;
            for stream in &mut posting {
                while let Some((client, due)) = stream.due(now) {
                    expected += self.world.rooms[self.clients[client].room as usize].readers;
                    self.post(client, due, text_bytes)?;
                }
                next = next.min(stream.next_due().unwrap_or(u64::MAX));
            }
            let delivered = self.world.delivered - delivered_before;
            let answered: u64 = self.world.streams.iter().map(|stream| stream.answered).sum();
            let posted: u64 = self.world.streams.iter().map(|stream| stream.posts).sum();
            if progress.0 != delivered + answered {
                progress = (delivered + answered, now);
            }
            let at_rest = answered == posted && expected <= delivered;
            let over = posting.iter().all(|stream| !stream.goes_on(now));
            let patient = clock::seconds(now - progress.1) < PATIENCE_SECONDS;
            if over && (at_rest || !patient) {
                break;
            }
            if !over && !patient && next == u64::MAX {
                bail!(
                    "nothing happens: {posted} posted, {answered} answered, {delivered} delivered; {:?}",
                    self.world.stopped
                );
            }
            self.turn(Some(next.min(now + 100_000_000)))?;
        }
        for room in &mut self.world.rooms {
            room.stream = None;
        }
        let streams = std::mem::take(&mut self.world.streams);
        Ok(Posted {
            seconds: clock::seconds(self.world.delivered_at.max(begun) - begun),
            reads: self.world.reads - reads_before,
            answered_seconds: clock::seconds(self.world.answered_at.max(begun) - begun),
            streams: streams.iter().map(posted).collect(),
        })
    }
}

pub(super) fn posted(stream: &Measured) -> StreamPosted {
    StreamPosted {
        posts: stream.posts,
        answered: stream.answered,
        deliveries: stream.deliveries,
        delivery: latency(&stream.delivery),
        answer: latency(&stream.answer),
    }
}

/// How far a stream is.
struct Posting {
    pace: Pace,
    /// Who posts, in turn: the first of each room, then the second of each, …
    posters: Vec<usize>,
    begun: u64,
    end: u64,
    posted: u64,
}

impl Posting {
    fn new(stream: &Stream, rooms: &[Room], begun: u64) -> Self {
        let rooms = &rooms[stream.rooms.clone()];
        let posters = (0..stream.posters)
            .flat_map(|nth| rooms.iter().filter_map(move |room| room.clients.get(nth).copied()));
        Self {
            pace: stream.pace,
            posters: posters.collect(),
            begun,
            end: begun + clock::nanoseconds(stream.seconds),
            posted: 0,
        }
    }

    /// Who posts at the beginning of a closed loop, as often as they are named.
    fn at_once(&self) -> Vec<usize> {
        match self.pace {
            Pace::PerSecond(_) => Vec::new(),
            Pace::UnderWay(under_way) => self.posters.repeat(under_way),
            Pace::Count { posts, under_way } => {
                let mut first = self.posters.repeat(under_way);
                first.truncate(usize::try_from(posts).unwrap_or(usize::MAX));
                first
            }
        }
    }

    /// Whether there is more to be posted.
    fn goes_on(&self, now: u64) -> bool {
        match self.pace {
            Pace::PerSecond(_) => self.next_due().is_some(),
            Pace::UnderWay(_) => now < self.end,
            Pace::Count { posts, .. } => self.posted < posts,
        }
    }

    /// Whether an answer is followed by another post.
    fn follows_up(&self, now: u64) -> bool {
        !matches!(self.pace, Pace::PerSecond(_)) && self.goes_on(now)
    }

    /// When the next post of an open loop is due.
    fn next_due(&self) -> Option<u64> {
        let Pace::PerSecond(rate) = self.pace else { return None };
        let due = self.begun + clock::nanoseconds(self.posted as f64 / rate);
        (due < self.end).then_some(due)
    }

    /// Takes the next post of an open loop that is due by now.
    fn due(&mut self, now: u64) -> Option<(usize, u64)> {
        let due = self.next_due().filter(|&due| due <= now)?;
        let client = self.posters[usize::try_from(self.posted).ok()? % self.posters.len()];
        self.posted += 1;
        Some((client, due))
    }
}

fn latency(histogram: &Histogram<u64>) -> Latency {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64;
    Latency { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: histogram.max() as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posting(pace: Pace) -> Posting {
        Posting { pace, posters: vec![7, 8], begun: 1_000, end: 1_000 + clock::nanoseconds(1.0), posted: 0 }
    }

    #[test]
    fn an_open_loop_posts_when_it_is_due_whatever_was_answered() {
        let mut posting = posting(Pace::PerSecond(4.0));
        assert!(posting.at_once().is_empty());
        let quarter = clock::nanoseconds(0.25);
        assert_eq!(posting.due(1_000), Some((7, 1_000)));
        assert_eq!(posting.due(1_000), None);
        assert!(!posting.follows_up(1_000));
        // Nothing happened for a while: all that was due meanwhile is posted, and late from when it was due.
        let late = 1_000 + 10 * quarter;
        let rest: Vec<_> = std::iter::from_fn(|| posting.due(late)).collect();
        assert_eq!(rest, [(8, 1_000 + quarter), (7, 1_000 + 2 * quarter), (8, 1_000 + 3 * quarter)]);
        assert!(!posting.goes_on(late));
    }

    #[test]
    fn a_closed_loop_keeps_as_many_under_way_as_it_was_told() {
        assert_eq!(posting(Pace::UnderWay(2)).at_once(), [7, 8, 7, 8]);
        assert!(posting(Pace::UnderWay(2)).follows_up(1_000));
        assert!(!posting(Pace::UnderWay(2)).follows_up(u64::MAX));
        let mut counted = posting(Pace::Count { posts: 3, under_way: 2 });
        assert_eq!(counted.at_once(), [7, 8, 7]);
        counted.posted = 3;
        assert!(!counted.follows_up(1_000));
    }
}
