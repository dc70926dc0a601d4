//! When the server is to stop: SIGTERM from a supervisor, SIGINT from a keyboard.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::serve::StartError;

/// The exit code after a second signal: what a shell reports for a process that was interrupted.
const INTERRUPTED: i32 = 130;

/// Completes with the first signal. A second one ends the process at once, whatever it is doing.
///
/// # Errors
/// If the system does not let the process listen for signals.
pub(crate) fn asked() -> Result<impl Future<Output = ()> + Send + 'static, StartError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    Ok(async move {
        either(&mut terminate, &mut interrupt).await;
        tracing::info!("stopping; a second signal ends the server at once");
        tokio::spawn(async move {
            either(&mut terminate, &mut interrupt).await;
            std::process::exit(INTERRUPTED);
        });
    })
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}
