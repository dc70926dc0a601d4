//! Where log lines go: to standard error, as text for people or as JSON for machines.
//!
//! What is logged is decided where it happens; message bodies, tokens and guests' secrets never are. Libraries that speak through the `log`
//! crate are not heard: one of them writes whole messages.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Log, LogFormat};

/// Begins to log. Once per process.
pub(crate) fn start(log: &Log) {
    let lines = tracing_subscriber::fmt()
        // What is not wanted is left to the filter.
        .with_max_level(LevelFilter::TRACE)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    match log.format {
        LogFormat::Text => lines.finish().with(log.filter.clone()).init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().with(log.filter.clone()).init(),
    }
}
