//! The tutorial's protocol: `chat message`, in one room.

use chat_core::{Draft, Kind, Receipt};

use super::content;
use super::conversation::Conversation;
use super::fields::invalid_field;
use super::problem::{Code, Problem};
use super::service::Service;
use super::wire::{self, CHAT_MESSAGE};
use crate::{Ack, Args, Event};

/// Handles one event. A passing failure stays unanswered: the official client takes any answer for success, and without one it sends again.
pub(super) async fn handle(service: &Service, conversation: &Conversation, event: &Event, ack: Option<Ack>) {
    service.turn_of(conversation).await;
    let outcome = match event.name() {
        CHAT_MESSAGE => service.in_time(post(service, conversation, event)).await,
        _ => Err(Problem::new(
            Code::Unsupported,
            "without `auth.rooms` a connection speaks the tutorial's protocol, which only has `chat message`",
        )),
    };
    let reply = match outcome {
        Ok(receipt) => wire::receipt(&receipt),
        Err(problem) if problem.is_passing() => return,
        Err(problem) => problem.to_reply(),
    };
    answer(ack, &reply);
}

/// `chat message`(content, clientOffset?)
async fn post(service: &Service, conversation: &Conversation, event: &Event) -> Result<Receipt, Problem> {
    let Some(content) = event.arg(0) else {
        return Err(Problem::bad_request("a chat message has content"));
    };
    let body = content::body(content, event.attachments(), service.settings.content_bytes_max)?;
    let identity = &conversation.identity;
    // Whatever is no string there counts as absent: a callback, a number, nothing.
    let client_offset: Option<String> = event.parse(1).ok();
    let key = identity
        .tutorial_key(client_offset.as_deref())
        .map_err(|invalid| invalid_field("clientOffset", &invalid))?;
    let draft = Draft { kind: Kind::Message, author: identity.tutorial_author(), key, body };
    Ok(service.chat.post_for(identity.id(), &service.settings.default_room, draft).await?)
}

/// Answers, if the client asked for it.
pub(super) fn answer(ack: Option<Ack>, reply: &Args) {
    if let Some(ack) = ack {
        // Only fails when the connection is over: the client asks again on the next one.
        let _ = ack.send_args(reply);
    }
}
