//! Every decoder of what comes from a peer or out of a log, for `fuzz/` and `tests/fuzz_seeds.rs`. Not for applications.
//!
//! Each function takes any bytes, and panics where a decoder does, or where what it has made of them does not hold.

pub use crate::chat::fuzzing::{content, hello, places};
pub use crate::engine::fuzzing::payload;
pub use crate::socket::fuzzing::{claim, frame, journal, packets, pid, placeholders, token};
