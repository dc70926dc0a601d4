//! The arguments of what is sent: JSON values, and binary attachments that they refer to.

use bytes::Bytes;
use serde::Serialize;

use super::event::Event;

/// Arguments of an event or an ack, in order.
///
/// ```
/// use chat_transport_socketio::Args;
///
/// let args = Args::new().json(&1)?.json("two")?.raw(r#"{"three":3.0}"#).binary(&b"four"[..]);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Args {
    /// The values, with commas between.
    pub(crate) json: String,
    pub(crate) attachments: Vec<Bytes>,
}

impl Args {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only `value`.
    ///
    /// # Errors
    /// `value` has no JSON form.
    pub fn one<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        Self::new().json(value)
    }

    /// Adds `value`.
    ///
    /// # Errors
    /// `value` has no JSON form.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Self, serde_json::Error> {
        Ok(self.raw(&serde_json::to_string(value)?))
    }

    /// Adds `json` as it is. It must be one JSON value, which is not checked again here: what [`Event::arg`] gives is, and what
    /// [`crate::placeholder::check`] accepts.
    #[must_use]
    pub fn raw(mut self, json: &str) -> Self {
        debug_assert!(super::json::outline(json).is_ok(), "raw arguments are JSON");
        if !self.json.is_empty() {
            self.json.push(',');
        }
        self.json.push_str(json);
        self
    }

    /// Adds `bytes` as an argument of its own.
    #[must_use]
    pub fn binary(self, bytes: impl Into<Bytes>) -> Self {
        let number = self.attachments.len();
        let mut args = self.raw(&format!(r#"{{"_placeholder":true,"num":{number}}}"#));
        args.attachments.push(bytes.into());
        args
    }

    /// Adds what the placeholders of raw arguments refer to; they are numbered on from what is here already.
    #[must_use]
    pub fn attach(mut self, attachments: impl IntoIterator<Item = Bytes>) -> Self {
        self.attachments.extend(attachments);
        self
    }
}

/// The arguments of a received event, as they came.
impl From<&Event> for Args {
    fn from(event: &Event) -> Self {
        let args = (0..event.len()).filter_map(|index| event.arg(index));
        args.fold(Self::new(), Self::raw).attach(event.attachments().iter().cloned())
    }
}
