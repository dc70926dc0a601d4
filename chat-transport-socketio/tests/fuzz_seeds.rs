//! The decoders that `fuzz/` tries for minutes by hand, on its seeds and on what lies near them.
//!
//! `PROPTEST_CASES=1000000 cargo nextest run --release -p chat-transport-socketio --all-features --test fuzz_seeds` tries more.
#![cfg(feature = "fuzzing")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use chat_transport_socketio::fuzzing;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    fs::read_dir(folder).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
}

/// A change of a few bytes.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, Index),
    /// A piece of another seed.
    Splice(Index, Index, Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let bytes = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..4),
        "[\\[\\]{}\",:0-9a-z/_\\\\\u{1e}\n-]{1,4}".prop_map(String::into_bytes),
        Just(br#"{"_placeholder":true,"num":0}"#.to_vec()),
        Just(vec![0xff; 9]),
    ];
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<Index>(), bytes).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        any::<(Index, Index)>().prop_map(|(from, upto)| Change::Remove(from, upto)),
        any::<(Index, Index, Index, Index)>()
            .prop_map(|(at, seed, from, upto)| Change::Splice(at, seed, from, upto)),
    ]
}

impl Change {
    fn make(&self, data: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let between = |length: usize, from: &Index, upto: &Index| {
            let (from, upto) = (from.index(length + 1), upto.index(length + 1));
            from.min(upto)..from.max(upto)
        };
        match self {
            Self::Set(at, byte) if !data.is_empty() => {
                let at = at.index(data.len());
                data[at] = *byte;
            }
            Self::Set(..) => {}
            Self::Insert(at, bytes) => {
                let at = at.index(data.len() + 1);
                data.splice(at..at, bytes.iter().copied());
            }
            Self::Remove(from, upto) => drop(data.drain(between(data.len(), from, upto))),
            Self::Splice(at, seed, from, upto) => {
                let seed = seed.get(seeds);
                let piece = seed[between(seed.len(), from, upto)].to_vec();
                let at = at.index(data.len() + 1);
                data.splice(at..at, piece);
            }
        }
    }
}

fn holds_near_its_seeds(target: &str, decode: fn(&[u8])) {
    let seeds = seeds(target);
    seeds.iter().for_each(|seed| decode(seed));
    let cases = (any::<Index>(), proptest::collection::vec(change(), 1..6));
    let outcome = TestRunner::default().run(&cases, |(seed, changes)| {
        let mut data = seed.get(&seeds).clone();
        changes.iter().for_each(|change| change.make(&mut data, &seeds));
        decode(&data);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

macro_rules! targets {
    ($($target:ident)*) => {
        $(
            #[test]
            fn $target() {
                holds_near_its_seeds(stringify!($target), fuzzing::$target);
            }
        )*
    };
}

targets! { payload packets placeholders content hello claim pid token places journal frame }
