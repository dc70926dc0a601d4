//! `kick`, `ban`, `unban`, `mute` and `unmute`: what those ask for who manage a room, and what those are told whom it befalls.

use chat_core::{Measure, Reason, Removal, RemovalCause, RoomId, Timestamp};
use serde::Serialize;

use super::conversation::Conversation;
use super::fields::{Fields, invalid_field};
use super::identity::is_shared;
use super::problem::Problem;
use super::service::Service;
use super::wire::{self, NAMESPACE};
use crate::{Args, Frame};

/// Whether a request is one of these.
pub(super) fn is_measure(name: &str) -> bool {
    matches!(name, "kick" | "ban" | "unban" | "mute" | "unmute")
}

pub(super) async fn request(
    service: &Service,
    conversation: &Conversation,
    name: &str,
    fields: &Fields<'_>,
) -> Result<Args, Problem> {
    let measure = measure(name, fields, Timestamp::now())?;
    service.chat.moderate_for(conversation.identity.id(), &measure).await?;
    Ok(wire::done())
}

fn measure(name: &str, fields: &Fields<'_>, now: Timestamp) -> Result<Measure, Problem> {
    let room = fields.room()?;
    let user = fields.user()?;
    if is_shared(&user) {
        return Err(Problem::bad_request(
            "`user`: guests of the tutorial's protocol without a secret post under one id, and cannot be told apart by it",
        ));
    }
    let reason = fields.text("reason")?.map(|reason| Reason::new(&reason)).transpose();
    let reason = reason.map_err(|invalid| invalid_field("reason", &invalid))?;
    let until = fields.count("until")?.map(Timestamp::from_millis);
    if until.is_some_and(|until| until <= now) {
        return Err(Problem::bad_request("`until` must be in the future, in milliseconds since 1970"));
    }
    Ok(match name {
        "ban" => Measure::Ban { user, room: Some(room), until, reason },
        "unban" => Measure::Unban { user, room: Some(room) },
        "mute" => Measure::Mute { user, room: Some(room), until, reason },
        "unmute" => Measure::Unmute { user, room: Some(room) },
        _ => Measure::Kick { user, room, reason },
    })
}

/// `removed`: the client is not in the room any more.
pub(super) fn removed(room: &RoomId, removal: &Removal) -> Frame {
    #[derive(Serialize)]
    struct Removed<'a> {
        room: &'a str,
        #[serde(flatten)]
        why: Why<'a>,
    }
    event("removed", &Removed { room: room.as_str(), why: Why::of(removal) })
}

/// `signed_out`, by an act of moderation.
pub(super) fn signed_out(removal: &Removal) -> Frame {
    event("signed_out", &Why::of(removal))
}

/// `signed_out`, since the token has expired.
pub(super) fn signed_out_by_time() -> Frame {
    event("signed_out", &Why { reason: "expired", message: None, until: None })
}

/// `token_expiring`: time to get another token.
pub(super) fn token_expiring(at: Timestamp) -> Frame {
    #[derive(Serialize)]
    struct Expiring {
        at: u64,
    }
    event("token_expiring", &Expiring { at: at.millis() })
}

/// `reason` is for programs, `message` in the words of whoever did it.
#[derive(Serialize)]
struct Why<'a> {
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
}

impl<'a> Why<'a> {
    fn of(removal: &'a Removal) -> Self {
        let reason = match removal.cause {
            RemovalCause::Kicked => "kicked",
            RemovalCause::Banned => "banned",
            _ => "signed_out",
        };
        let message = removal.reason.as_ref().map(Reason::as_str);
        Self { reason, message, until: removal.until.map(Timestamp::millis) }
    }
}

fn event(name: &str, arg: &impl Serialize) -> Frame {
    Frame::event(NAMESPACE, name, &Args::one(arg).expect("texts and numbers have a JSON form"))
}

#[cfg(test)]
mod tests {
    use chat_core::UserId;

    use super::*;

    fn read(name: &str, json: &str) -> Result<Measure, Problem> {
        measure(name, &Fields::parse("the request", json).unwrap(), Timestamp::from_millis(1_000))
    }

    #[test]
    fn a_measure_has_a_room_a_user_and_an_end_that_is_still_to_come() {
        let (user, room) = (UserId::new("eve").unwrap(), RoomId::new("r").unwrap());
        let until = Some(Timestamp::from_millis(1_001));
        let reason = Some(Reason::new("spam").unwrap());
        assert_eq!(
            read("ban", r#"{"room":"r","user":"eve","until":1001,"reason":"spam"}"#),
            Ok(Measure::Ban { user, room: Some(room), until, reason })
        );
        for (json, message) in [
            (r#"{"user":"eve"}"#, "`room` is missing"),
            (
                r#"{"room":"~moderation","user":"eve"}"#,
                "`room`: room names that begin with `dm:` or `~` are reserved",
            ),
            (r#"{"room":"r"}"#, "`user` is missing"),
            (r#"{"room":"r","user":""}"#, "`user`: a user id must not be empty"),
            (
                r#"{"room":"r","user":"eve","until":1000}"#,
                "`until` must be in the future, in milliseconds since 1970",
            ),
            (r#"{"room":"r","user":"eve","until":"never"}"#, "`until` must be a non-negative integer"),
            (
                r#"{"room":"r","user":"eve","reason":"a\nb"}"#,
                "`reason`: a reason must not contain control characters",
            ),
        ] {
            assert_eq!(read("ban", json), Err(Problem::bad_request(message)), "{json}");
        }
        assert!(read("mute", r#"{"room":"r","user":"guest:*"}"#).is_err());
    }
}
