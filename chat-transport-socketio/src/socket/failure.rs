//! Why an event was not carried out, as its client is told.

use serde_json::{Value, json};

use super::event::Ack;
use crate::Args;

/// Why an event was not carried out. If the client asked for an answer, it gets
/// `{"ok":false,"error":{"code":…,"message":…,"retryable":…}}`, the form that the [`chat`](crate::chat) has as well.
///
/// ```
/// use chat_transport_socketio::Failure;
///
/// let taken = Failure::new("taken", "somebody was faster").data(serde_json::json!({ "by": "ada" }));
/// let later = Failure::new("unavailable", "the database is away").retryable();
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Failure(Option<Box<Told>>);

#[derive(Clone, Debug, PartialEq)]
struct Told {
    code: String,
    message: String,
    retryable: bool,
    data: Option<Value>,
}

impl Failure {
    /// `code` is for the client's program, `message` for its developer.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        let told = Told { code: code.into(), message: message.into(), retryable: false, data: None };
        Self(Some(Box::new(told)))
    }

    /// Nothing is answered. A client that was told to retry goes on doing so, while one that gets an answer, whatever it says, stops: the
    /// official ones take any ack for success.
    pub fn unanswered() -> Self {
        Self(None)
    }

    /// The same request may succeed later.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        if let Some(told) = &mut self.0 {
            told.retryable = true;
        }
        self
    }

    /// More about it, as the error's `data`.
    #[must_use]
    pub fn data(mut self, data: Value) -> Self {
        if let Some(told) = &mut self.0 {
            told.data = Some(data);
        }
        self
    }

    /// What the client sent is not what the event is about.
    pub(crate) fn malformed(error: &serde_json::Error) -> Self {
        // It tells the client about its own words, and nobody else.
        Self::new("bad_request", format!("the argument is not what is expected: {error}"))
    }

    /// Tells whoever waits for an answer.
    pub(crate) fn answer(self, ack: Option<Ack>) {
        let (Some(told), Some(ack)) = (self.0, ack) else { return };
        let Told { code, message, retryable, data } = *told;
        let mut error = json!({ "code": code, "message": message, "retryable": retryable });
        if let (Some(data), Some(fields)) = (data, error.as_object_mut()) {
            fields.insert("data".to_owned(), data);
        }
        let reply = json!({ "ok": false, "error": error });
        // A client that is gone needs no answer.
        let _ = ack.send_args(&Args::new().raw(&reply.to_string()));
    }
}
