//! Where log lines go: to standard error, as text for people or as JSON for machines.
//!
//! What is logged is decided where it happens; message bodies, tokens and guests' secrets never are. Libraries that speak through the `log`
//! crate are not heard: one of them writes whole messages.

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Begins to log. Once per process.
pub(crate) fn start(log: &Log) {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&log.filter))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    match log.format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}
