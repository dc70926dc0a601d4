//! The reference chat server: reads its configuration, serves until it is told to stop, and ends with an exit code.
//!
//! What it serves is wired together in `serve.rs`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod assets;
mod backend;
mod config;
mod health;
mod logging;
mod rules;
mod serve;
mod settings;
mod stop;
mod tokens;
mod writes;

use std::process::ExitCode;

use config::Config;
use settings::Refused;

/// The command line, a variable or the configuration file cannot be used.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().map(|text| text.to_string_lossy().into_owned()).collect();
    let read =
        Config::read(&arguments, |name| std::env::var(name).ok(), |path| std::fs::read_to_string(path));
    let config = match read {
        Ok(config) => config,
        Err(information @ Refused::Information(_)) => {
            println!("{information}");
            return ExitCode::SUCCESS;
        }
        Err(refused) => {
            eprintln!("{refused}");
            return ExitCode::from(USAGE);
        }
    };
    logging::start(&config.log);
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", in_full(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config) -> Result<(), serve::StartError> {
    let runtime = tokio::runtime::Runtime::new().map_err(serve::StartError::Runtime)?;
    let ended = runtime.block_on(start(config));
    // Dropped, it would wait for threads that a slow disk or name server holds, beyond the deadline of the stop.
    runtime.shutdown_background();
    ended
}

async fn start(config: Config) -> Result<(), serve::StartError> {
    let stop = stop::asked()?;
    let listener = serve::listen(config.listen).await?;
    serve::run(listener, config, stop).await
}

/// An error and what lies behind it.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
