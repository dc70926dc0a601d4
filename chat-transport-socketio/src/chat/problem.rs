//! What is wrong with a request, as a client is told: the error codes of the wire contract.

use std::borrow::Cow;
use std::time::Duration;

use chat_core::{ChatError, RoomId, StoreError, Timestamp};
use serde::Serialize;

use crate::Args;

/// The codes of the contract. Clients decide by them, so they never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Code {
    BadRequest,
    TooLarge,
    Unauthorized,
    Forbidden,
    NotJoined,
    Conflict,
    RateLimited,
    Unavailable,
    Unsupported,
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) code: Code,
    /// For the developer of the client. Never repeats a secret or content.
    pub(super) message: Cow<'static, str>,
    /// When it may be tried again, if that is known.
    retry_after: Option<Duration>,
    /// How long what is in the way lasts, where that has an end.
    until: Option<Timestamp>,
}

impl Problem {
    pub(super) fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), retry_after: None, until: None }
    }

    pub(super) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::BadRequest, message)
    }

    pub(super) fn rate_limited(retry_after: Duration) -> Self {
        let message = "too many requests, wait for retryAfterMs";
        Self { retry_after: Some(retry_after), ..Self::new(Code::RateLimited, message) }
    }

    /// The request took longer than it may.
    pub(super) fn timeout() -> Self {
        Self::new(Code::Unavailable, "this took too long; try again with the same id")
    }

    /// Whether the same request may succeed later.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self.code, Code::Unavailable | Code::RateLimited)
    }

    /// `{"code":…,"message":…,"retryable":…}`.
    pub(super) fn to_json(&self) -> serde_json::Value {
        let mut json = serde_json::json!({
            "code": self.code,
            "message": self.message,
            "retryable": self.is_passing(),
        });
        if let Some(after) = self.retry_after {
            // Rounded up: who waits as long is let through.
            json["retryAfterMs"] =
                (u64::try_from(after.as_millis()).unwrap_or(u64::MAX).saturating_add(1)).into();
        }
        if let Some(until) = self.until {
            json["until"] = until.millis().into();
        }
        json
    }

    /// `{"ok":false,"error":…}`.
    pub(super) fn to_reply(&self) -> Args {
        let reply = serde_json::json!({ "ok": false, "error": self.to_json() });
        Args::new().raw(&reply.to_string())
    }

    /// The same, with the name of the room it is about.
    pub(super) fn in_room(mut self, room: &RoomId) -> Self {
        self.message = format!("{}: {room}", self.message).into();
        self
    }
}

impl From<ChatError> for Problem {
    fn from(error: ChatError) -> Self {
        let code = match &error {
            ChatError::Forbidden
            | ChatError::TheirRoomsFull
            | ChatError::Banned { .. }
            | ChatError::Muted { .. }
            | ChatError::SignedOut
            | ChatError::ManagesToo => Code::Forbidden,
            ChatError::Conflict { .. } => Code::Conflict,
            ChatError::TooLarge { .. } => Code::TooLarge,
            ChatError::TooManyRooms { .. }
            | ChatError::TooManyOwnRooms { .. }
            | ChatError::TooManySanctions { .. } => Code::BadRequest,
            ChatError::NotInRoom => Code::NotJoined,
            ChatError::NoPresence => Code::Unsupported,
            ChatError::Store(error) => return error.clone().into(),
            _ => return Self::new(Code::Unavailable, "the server cannot do this now"),
        };
        let until = match &error {
            ChatError::Banned { removal } => removal.until,
            ChatError::Muted { until, .. } => *until,
            _ => None,
        };
        Self { until, ..Self::new(code, error.to_string()) }
    }
}

impl From<StoreError> for Problem {
    /// All of them pass: also what is corrupt is put right one day, and until then the client keeps its message.
    /// Which store it is and what ails it is the operator's business.
    fn from(error: StoreError) -> Self {
        let cause = &error as &dyn std::error::Error;
        match &error {
            StoreError::Corrupt { .. } => tracing::error!(error = cause, "a request failed"),
            _ => tracing::debug!(error = cause, "a request failed for now"),
        }
        Self::new(Code::Unavailable, "messages cannot be stored or read now; try again with the same id")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_of_the_engine_has_a_code_that_tells_whether_to_try_again() {
        let bookmark = "1.2.3".parse().unwrap();
        for (error, code, retryable) in [
            (ChatError::Forbidden, Code::Forbidden, false),
            (ChatError::Conflict { bookmark }, Code::Conflict, false),
            (ChatError::TooLarge { max: 1 }, Code::TooLarge, false),
            (ChatError::TooManyRooms { max: 1 }, Code::BadRequest, false),
            (ChatError::TooManyOwnRooms { max: 1 }, Code::BadRequest, false),
            (ChatError::TheirRoomsFull, Code::Forbidden, false),
            (ChatError::NotInRoom, Code::NotJoined, false),
            (ChatError::NoPresence, Code::Unsupported, false),
            (StoreError::unavailable("s", "x").into(), Code::Unavailable, true),
            (StoreError::indeterminate("s", "x").into(), Code::Unavailable, true),
            (StoreError::corrupt("s", "x").into(), Code::Unavailable, true),
        ] {
            let problem = Problem::from(error);
            assert_eq!((problem.code, problem.is_passing()), (code, retryable));
        }
    }

    #[test]
    fn an_error_has_the_shape_of_the_contract() {
        assert_eq!(
            Problem::bad_request("`room` is missing").to_json(),
            serde_json::json!({"code": "bad_request", "message": "`room` is missing", "retryable": false})
        );
        let limited = Problem::rate_limited(Duration::from_micros(1_500)).to_json();
        assert_eq!(limited["retryAfterMs"], 2);
        assert_eq!(limited["retryable"], true);
    }
}
