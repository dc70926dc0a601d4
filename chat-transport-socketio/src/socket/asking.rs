//! Events that ask for an ack: of one client, or of many at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::args::Args;
use super::broadcast::Broadcast;
use super::event::Answer;
use super::frame::Frame;
use super::id::SocketId;
use super::socket::{EmitError, Socket};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The event was not sent.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// No answer came in time. It may have been received all the same.
    #[error("the client did not answer in time")]
    TimedOut,
    /// The socket left before it answered.
    #[error("the client left before it answered")]
    Left,
    /// As many answers of this client are awaited as may be.
    #[error("too many answers of this client are awaited")]
    TooMany,
    /// It answered, but what all have answered is more than is kept: [`Broadcast::answers_bytes_max`].
    #[error("the answers together are larger than allowed")]
    TooLarge,
}

/// What [`Broadcast::ask`] has brought in: each client that was asked is in one of the two.
#[derive(Debug, Default)]
pub struct Answers {
    /// Who answered, in the order in which the answers came.
    pub answered: Vec<(SocketId, Answer)>,
    /// Who did not, and why.
    pub missing: Vec<(SocketId, AskError)>,
}

/// Who waits for the answer of one client.
pub(crate) enum Asked {
    Alone(oneshot::Sender<Answer>),
    Among(Share),
}

/// One of many that were asked.
pub(crate) struct Share {
    of: SocketId,
    answers: mpsc::UnboundedSender<(SocketId, Option<Answer>)>,
    /// What may still come, in bytes, of all that were asked together.
    bytes_left: Arc<AtomicUsize>,
}

/// Ack ids of questions to one client are below, and of those to many from here on to twice as much: both are counted for themselves, and a
/// question to many is encoded once. Not more, since there are clients that read an id into 32 bits.
pub(crate) const IDS: u64 = 1 << 30;
/// What all answers to a question may take, in bytes, if nothing else was said.
pub(crate) const ANSWERS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What an answer counts for beside its own bytes.
const ANSWER_BYTES: usize = 256;

impl Socket {
    /// Sends an event and waits for the client's answer. Not to be awaited by a handler of this same client for long: until it returns, the
    /// client's further events wait.
    ///
    /// # Errors
    /// See [`AskError`].
    ///
    /// # Cancellation
    /// When the future is dropped, the answer is ignored.
    pub async fn ask(&self, name: &str, args: &Args, timeout: Duration) -> Result<Answer, AskError> {
        let id = self.next_ack_id();
        let (sender, answer) = oneshot::channel();
        let frame = Frame::event_with_ack(self.namespace(), id, name, args);
        self.push_asking(id, frame, Asked::Alone(sender))?;
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(AskError::Left),
            Err(_) => {
                self.forget_asked(id);
                Err(AskError::TimedOut)
            }
        }
    }
}

impl Broadcast {
    /// Sends an event to each client and waits until all have answered, or have left, or `timeout` is over. Clients that are away are not
    /// asked. Not to be awaited by a handler for long: see [`Socket::ask`].
    ///
    /// ```no_run
    /// # use chat_transport_socketio::{Args, SocketIo};
    /// # async fn run(io: SocketIo) -> Result<(), serde_json::Error> {
    /// let asked = io.to("lobby").ask("ready?", &Args::new(), std::time::Duration::from_secs(5)).await;
    /// let ready = asked.answered.iter().filter(|(_, answer)| answer.parse(0).unwrap_or(false)).count();
    /// println!("{ready} are ready, {} said nothing", asked.missing.len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancellation
    /// When the future is dropped, the answers are ignored.
    pub async fn ask(&self, name: &str, args: &Args, timeout: Duration) -> Answers {
        let id = self.namespace.next_ack_id();
        let frame = Frame::event_with_ack(&self.namespace.name, id, name, args);
        let (answers, mut incoming) = mpsc::unbounded_channel();
        let bytes_left = Arc::new(AtomicUsize::new(self.answers_bytes_max));
        let mut got = Answers::default();
        let mut question = Question { id, open: HashMap::new() };
        for session in self.sessions() {
            let Some(socket) = session.socket() else {
                got.missing.push((session.id, EmitError::Closed.into()));
                continue;
            };
            let share = Share { of: session.id, answers: answers.clone(), bytes_left: bytes_left.clone() };
            match socket.push_asking(id, frame.clone(), Asked::Among(share)) {
                Ok(()) => drop(question.open.insert(session.id, socket)),
                Err(error) => got.missing.push((session.id, error)),
            }
        }
        drop(answers);
        let all = async {
            // It ends when nobody is left who could answer.
            while let Some((of, answer)) = incoming.recv().await {
                question.open.remove(&of);
                match answer {
                    Some(answer) => got.answered.push((of, answer)),
                    None => got.missing.push((of, AskError::TooLarge)),
                }
            }
        };
        // What was not in by then is told below.
        let _ = tokio::time::timeout(timeout, all).await;
        for (of, socket) in &question.open {
            let why = if socket.is_cut() { AskError::Left } else { AskError::TimedOut };
            got.missing.push((*of, why));
        }
        got
    }
}

/// A question to many. When it is over, those who have not answered need not remember it.
struct Question {
    id: u64,
    open: HashMap<SocketId, Socket>,
}

impl Drop for Question {
    fn drop(&mut self) {
        self.open.values().for_each(|socket| socket.forget_asked(self.id));
    }
}

impl Asked {
    /// Hands the answer over. Whoever asked may have stopped waiting.
    pub(crate) fn answer(self, answer: Answer) {
        match self {
            Self::Alone(asker) => drop(asker.send(answer)),
            Self::Among(share) => share.answer(answer),
        }
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Alone(asker) => asker.is_closed(),
            Self::Among(share) => share.answers.is_closed(),
        }
    }
}

impl Share {
    fn answer(self, answer: Answer) {
        let bytes = ANSWER_BYTES + answer.0.bytes();
        let fits = self
            .bytes_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes))
            .is_ok();
        drop(self.answers.send((self.of, fits.then_some(answer))));
    }
}
