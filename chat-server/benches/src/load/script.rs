//! What the clients of a chat do, written down before it begins, so that it is the same for all servers. Pure.

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use crate::clock;

/// How busy a chat is, all clients together.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Mix {
    pub(crate) seconds: f64,
    pub(crate) bursts_per_second: f64,
    /// Connections that are cut; each comes back soon.
    pub(crate) cuts_per_second: f64,
    pub(crate) text_bytes: usize,
    pub(crate) seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Type(usize),
    Post(usize),
    Cut(usize),
    Return(usize),
}

/// A burst has one post to so many.
const BURST_MOST: u32 = 5;
/// Between the posts of a burst, and from a typing notice to the first of them.
const PAUSE_SECONDS: f64 = 0.2;
/// From one to the other is how long a client is away.
const AWAY_SECONDS: (f64, f64) = (0.1, 1.0);
/// A connection often breaks just when something is sent: every other does, within this time.
const SHORTLY_SECONDS: f64 = 0.002;

/// Acts of so many clients, and when each is due: in nanoseconds from the beginning, in order.
pub(super) fn write(mix: &Mix, clients: usize) -> Vec<(u64, Act)> {
    let mut random = Rng::with_seed(mix.seed);
    let mut acts = Vec::new();
    for begin in times(&mut random, mix.bursts_per_second, mix.seconds) {
        let client = random.usize(..clients);
        acts.push((begin, Act::Type(client)));
        for nth in 1..=random.u32(1..=BURST_MOST) {
            acts.push((begin + PAUSE_SECONDS * f64::from(nth), Act::Post(client)));
        }
    }
    acts.sort_by(|(this, _), (that, _)| this.total_cmp(that));
    let posts: Vec<_> = acts
        .iter()
        .filter_map(|&(at, act)| match act {
            Act::Post(client) => Some((at, client)),
            _ => None,
        })
        .collect();
    let mut back = vec![0.0; clients];
    for at in times(&mut random, mix.cuts_per_second, mix.seconds) {
        let posting = posts.get(posts.partition_point(|&(post, _)| post < at)).filter(|_| random.bool());
        let (at, client) = match posting {
            Some(&(post, client)) => (post + random.f64() * SHORTLY_SECONDS, client),
            None => (at, random.usize(..clients)),
        };
        if back[client] < at {
            back[client] = at + AWAY_SECONDS.0 + random.f64() * (AWAY_SECONDS.1 - AWAY_SECONDS.0);
            acts.extend([(at, Act::Cut(client)), (back[client], Act::Return(client))]);
        }
    }
    acts.sort_by(|(this, _), (that, _)| this.total_cmp(that));
    acts.into_iter().map(|(at, act)| (clock::nanoseconds(at), act)).collect()
}

/// When something happens that happens so often on average, independently of when it happened before.
fn times(random: &mut Rng, per_second: f64, seconds: f64) -> Vec<f64> {
    let mut times = Vec::new();
    let mut at = 0.0;
    loop {
        // 1 less what is below 1 is never 0.
        at -= (1.0 - random.f64()).ln() / per_second;
        if seconds <= at {
            return times;
        }
        times.push(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIX: Mix =
        Mix { seconds: 20.0, bursts_per_second: 50.0, cuts_per_second: 30.0, text_bytes: 100, seed: 1 };
    const CLIENTS: usize = 40;

    #[test]
    fn the_same_seed_writes_the_same() {
        assert_eq!(write(&MIX, CLIENTS), write(&MIX, CLIENTS));
        assert_ne!(write(&MIX, CLIENTS), write(&Mix { seed: 2, ..MIX }, CLIENTS));
    }

    #[test]
    fn acts_come_in_order_and_about_as_often_as_asked() {
        let acts = write(&MIX, CLIENTS);
        assert!(acts.is_sorted_by_key(|&(at, _)| at));
        let count = |is: fn(&Act) -> bool| acts.iter().filter(|(_, act)| is(act)).count();
        assert!((900..1_100).contains(&count(|act| matches!(act, Act::Type(_)))));
        assert!((2_600..3_400).contains(&count(|act| matches!(act, Act::Post(_)))));
        assert!(100 < count(|act| matches!(act, Act::Cut(_))));
    }

    #[test]
    fn who_is_cut_comes_back_before_it_is_cut_again() {
        let mut away = [false; CLIENTS];
        for (_, act) in write(&MIX, CLIENTS) {
            match act {
                Act::Cut(client) => assert!(!std::mem::replace(&mut away[client], true)),
                Act::Return(client) => assert!(std::mem::replace(&mut away[client], false)),
                Act::Type(_) | Act::Post(_) => {}
            }
        }
        assert_eq!(away, [false; CLIENTS]);
    }
}
