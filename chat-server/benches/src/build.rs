//! Builds what is measured.
//!
//! What cannot be built is not measured, and said to be missing: a machine without Node can still compare the rest.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Where what was built can be found.
pub(crate) struct Built {
    pub(crate) ours: PathBuf,
    pub(crate) peers: PathBuf,
    pub(crate) node: PathBuf,
}

/// The folder of this package.
pub(crate) fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where things are once they are built; builds them unless they are there already as far as the caller knows.
pub(crate) fn build(peers: Option<PathBuf>, only_find: bool) -> Result<Built> {
    let workspace = here().ancestors().nth(2).context("the package is in chat-server/benches")?;
    let peers = peers.unwrap_or_else(|| here().join("peers"));
    let built = Built {
        ours: workspace.join("target/release/chat-server"),
        peers: peers.join("target/release"),
        node: peers.join("node"),
    };
    if only_find {
        return Ok(built);
    }
    let cargo = || {
        let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
        // Where the caller of this program has its own things built is no matter for those.
        cargo.env_remove("CARGO_TARGET_DIR").args(["build", "--locked", "--release"]);
        cargo
    };
    run("chat-server", cargo().args(["-p", "chat-server"]).current_dir(workspace))?;
    if peers.join("Cargo.toml").exists() {
        run("the peers in Rust", cargo().current_dir(&peers))?;
    }
    if built.node.join("package-lock.json").exists() {
        let npm = run(
            "the peers on Node",
            Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&built.node),
        );
        if let Err(error) = npm {
            eprintln!("{error:#}: they are left out");
        }
    }
    Ok(built)
}

fn run(what: &str, command: &mut Command) -> Result<()> {
    eprintln!("── building {what}");
    let status =
        command.stdin(Stdio::null()).status().with_context(|| format!("{command:?} cannot be started"))?;
    if !status.success() {
        bail!("{what} cannot be built: {command:?} ended with {status}");
    }
    Ok(())
}
