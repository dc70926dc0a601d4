//! The arguments of what is sent: JSON values, and binary attachments that they refer to.

use bytes::Bytes;
use serde::Serialize;

use super::event::Event;
use super::json::JsonError;

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
        debug_assert!(
            !matches!(super::json::outline(json), Err(JsonError::Syntax { .. })),
            "raw arguments are JSON"
        );
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

    /// The arguments of a received event from number `first` on, as they came. All attachments go with them.
    pub fn rest_of(event: &Event, first: usize) -> Self {
        let args = (first..event.len()).filter_map(|index| event.arg(index));
        args.fold(Self::new(), Self::raw).attach(event.attachments().iter().cloned())
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
        Self::rest_of(event, 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::json::{DEPTH_MAX, ELEMENTS_MAX};
    use super::super::packet::{Assembler, Kind, PacketLimits};
    use super::*;
    use crate::engine::{Message, Text};
    use crate::placeholder;

    /// An argument near one of the bounds: long, deep, or both.
    fn argument() -> impl Strategy<Value = String> {
        let near = |max: usize| prop_oneof![0..3_usize, max - 2..max + 3];
        (near(ELEMENTS_MAX), near(DEPTH_MAX)).prop_map(|(long, deep)| {
            let elements = vec!["0"; long].join(",");
            format!("{}[{elements}]{}", "[".repeat(deep), "]".repeat(deep))
        })
    }

    proptest! {
        /// What a client may send may be sent on and kept: whatever got in as an argument passes as content.
        #[test]
        fn every_argument_that_got_in_can_be_sent_on(args in proptest::collection::vec(argument(), 0..4)) {
            let text = format!("2[{}]", [vec!["\"e\"".to_owned()], args.clone()].concat().join(","));
            let limits = PacketLimits { attachments: 1, bytes: 1_000_000 };
            let taken = Assembler::default().take(Message::Text(Text::from(text.as_str())), limits);
            if let Ok(Some(packet)) = taken {
                let Kind::Event { name, args, ack: None } = packet.kind else { panic!("{text}") };
                let event = Event::new(name, args, None);
                let again = Args::from(&event);
                let sent = format!("{}]", again.json);
                prop_assert!(text.ends_with(&sent));
                for index in 0..event.len() {
                    prop_assert_eq!(placeholder::check(event.arg(index).unwrap(), 0), Ok(vec![]));
                }
            } else {
                prop_assert!(args.iter().any(|arg| arg.starts_with(&"[".repeat(DEPTH_MAX))), "refused: {}", text);
            }
        }
    }
}
