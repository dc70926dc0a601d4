//! The rules of [`MessageLog`](crate::MessageLog), one function for each.

mod append;
mod bounds;
mod content;
mod epoch;
mod forget;
mod read;

pub use append::*;
pub use bounds::*;
pub use content::*;
pub use epoch::*;
pub use forget::*;
pub use read::*;
