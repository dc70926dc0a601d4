//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Measures chat-server beside other servers, on the same work, in turn. Without a command: builds what is measured, measures it, and writes tables and plots.
#[derive(Parser)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Task>,
    /// Small sizes and short windows: to see that everything works, in a few minutes.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only these groups of scenarios, such as fanout,idle.
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Only these servers, such as ours-memory,bare-singly.
    #[arg(long, value_delimiter = ',')]
    pub(crate) servers: Vec<String>,
    /// How often everything is measured. [default: 3, with --quick 1]
    #[arg(long)]
    pub(crate) rounds: Option<usize>,
    /// How many messages there are to be in rooms with a long history. [default: 1000000, with --quick 20000]
    #[arg(long)]
    pub(crate) history_messages: Option<u64>,
    /// Says what would be measured, and stops.
    #[arg(long)]
    pub(crate) list: bool,
    /// Measures what has been built before.
    #[arg(long)]
    pub(crate) no_build: bool,
    /// The chat-server to be measured, instead of the one that is built here.
    #[arg(long)]
    pub(crate) ours: Option<PathBuf>,
    /// The folder of the peers' package. [default: peers, beside this package's manifest]
    #[arg(long)]
    pub(crate) peers: Option<PathBuf>,
    /// Where results go. [default: results, beside this package's manifest]
    #[arg(long, global = true)]
    pub(crate) out: Option<PathBuf>,
    /// Where servers keep messages while they are measured: on the disk that matters. [default: target of this package]
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// The core that servers run on, all of them on one.
    #[arg(long, default_value_t = 0)]
    pub(crate) server_core: usize,
    /// The core that the load comes from.
    #[arg(long, default_value_t = 1)]
    pub(crate) load_core: usize,
}

#[derive(Subcommand)]
pub(crate) enum Task {
    /// Writes tables and plots again, from results.json.
    Report,
    /// Makes load, as standard input says: for use by this program itself.
    #[command(hide = true)]
    Load {
        #[arg(long)]
        core: Option<usize>,
    },
}
