//! The full protocol: requests of one object, each answered by `{ok: true, …}` or `{ok: false, error}`.

use chat_core::{Draft, HistoryLimit, Kind, MessageKey, Offset, Since};

use super::accounts::Token;
use super::content;
use super::conversation::Conversation;
use super::fields::{Fields, invalid_field};
use super::moderation;
use super::problem::{Code, Problem};
use super::service::Service;
use super::tutorial::answer;
use super::wire;
use crate::{Ack, Args, Event, Socket};

/// Messages of a page for which no `limit` was asked.
const HISTORY_MESSAGES: u32 = 50;

/// Handles one event. What nobody waits for is carried out only where that has an effect.
pub(super) async fn handle(
    service: &Service,
    socket: &Socket,
    conversation: &Conversation,
    event: &Event,
    ack: Option<Ack>,
) {
    let has_effect = matches!(event.name(), "join" | "leave" | "post");
    if ack.is_none() {
        if !has_effect {
            return;
        }
        // Nobody can be told to come later, so it waits.
        service.turn_of(conversation).await;
        if event.name() == "join" {
            service.join_turn_of(conversation).await;
        }
    } else {
        let mut admitted = service.admit(conversation);
        if admitted.is_ok() && event.name() == "join" {
            admitted = service.admit_join(conversation);
        }
        if let Err(problem) = admitted {
            return answer(ack, &problem.to_reply());
        }
    }
    let reply = service.in_time(request(service, conversation, event)).await;
    if matches!(event.name(), "join" | "leave") && reply.is_ok() {
        socket.send_position();
    }
    answer(ack, &reply.unwrap_or_else(|problem| problem.to_reply()));
}

async fn request(service: &Service, conversation: &Conversation, event: &Event) -> Result<Args, Problem> {
    let is_known = matches!(event.name(), "join" | "leave" | "post" | "history" | "refresh");
    if !is_known && !moderation::is_measure(event.name()) {
        return Err(Problem::new(Code::Unsupported, "this server has no such request"));
    }
    let fields = Fields::parse("the request", event.arg(0).unwrap_or_default())?;
    match event.name() {
        "join" => join(conversation, &fields).await,
        "leave" => leave(conversation, &fields),
        "post" => post(service, conversation, event, &fields).await,
        "refresh" => refresh(service, conversation, &fields).await,
        name if moderation::is_measure(name) => {
            moderation::request(service, conversation, name, &fields).await
        }
        _ => history(service, conversation, &fields).await,
    }
}

async fn join(conversation: &Conversation, fields: &Fields<'_>) -> Result<Args, Problem> {
    let room = fields.room()?;
    let since = match (fields.place("after")?, fields.count("last")?) {
        (Some(_), Some(_)) => return Err(Problem::bad_request("`after` and `last` exclude each other")),
        (Some(after), None) => after,
        (None, Some(last)) => Since::Last(last),
        (None, None) => Since::Now,
    };
    Ok(wire::joined(&conversation.join(&room, since).await?))
}

fn leave(conversation: &Conversation, fields: &Fields<'_>) -> Result<Args, Problem> {
    conversation.leave(&fields.room()?);
    Ok(wire::done())
}

async fn post(
    service: &Service,
    conversation: &Conversation,
    event: &Event,
    fields: &Fields<'_>,
) -> Result<Args, Problem> {
    let room = fields.room()?;
    let key = MessageKey::new(&fields.required_text("id")?);
    let key = key.map_err(|invalid| invalid_field("id", &invalid))?;
    let content = fields.raw("content").ok_or_else(|| Problem::bad_request("`content` is missing"))?;
    if !conversation.is_in(&room) {
        return Err(Problem::new(Code::NotJoined, "join the room before you post to it"));
    }
    let body = content::body(content, event.attachments(), service.settings.content_bytes_max)?;
    let draft = Draft { kind: Kind::Message, author: conversation.identity.author(), key, body };
    Ok(wire::receipt(&service.chat.post(&room, draft).await?))
}

async fn refresh(
    service: &Service,
    conversation: &Conversation,
    fields: &Fields<'_>,
) -> Result<Args, Problem> {
    let token = Token::new(fields.required_text("token")?)?;
    Ok(wire::refreshed(service.refresh(conversation, &token).await?))
}

async fn history(
    service: &Service,
    conversation: &Conversation,
    fields: &Fields<'_>,
) -> Result<Args, Problem> {
    let room = fields.room()?;
    let before = match fields.count("before")?.map(Offset::new) {
        None => None,
        Some(Some(before)) => Some(before),
        Some(None) => {
            return Err(Problem::bad_request(format!("`before`: an offset is at most {}", Offset::MAX)));
        }
    };
    let largest = HistoryLimit::default();
    let messages = match fields.count("limit")? {
        None => HISTORY_MESSAGES,
        Some(0) => return Err(Problem::bad_request("`limit` must be at least 1")),
        Some(limit) => u32::try_from(limit).unwrap_or(u32::MAX).min(largest.messages),
    };
    let limit = HistoryLimit { messages, ..largest };
    let who = conversation.identity.id();
    let mut page = service.chat.history(who, &room, before, limit).await?;
    // Clients take an empty page for the beginning. It may take as long as any request.
    while page.messages.is_empty() && page.bounds.oldest() < page.from {
        page = service.chat.history(who, &room, Some(page.from), limit).await?;
    }
    Ok(wire::history(&room, &page))
}
