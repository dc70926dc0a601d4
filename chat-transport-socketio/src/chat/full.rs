//! The full protocol: requests of one object, each answered by `{ok: true, …}` or `{ok: false, error}`.

use chat_core::{DisplayName, Draft, HistoryLimit, Kind, MessageKey, Offset, Since, Typing, UserId};

use super::content;
use super::conversation::Conversation;
use super::fields::{Fields, invalid_field};
use super::problem::{Code, Problem};
use super::service::Service;
use super::tutorial::answer;
use super::wire;
use crate::{Ack, Args, Event, Socket};

/// Messages of a page for which no `limit` was asked.
const HISTORY_MESSAGES: u32 = 50;
/// People of a page of members, at most.
const MEMBERS_MAX: u32 = 200;

/// Handles one event. What nobody waits for is carried out only where that has an effect.
pub(super) async fn handle(
    service: &Service,
    socket: &Socket,
    conversation: &Conversation,
    event: &Event,
    ack: Option<Ack>,
) {
    let has_effect = matches!(event.name(), "join" | "leave" | "post" | "typing" | "rename");
    if ack.is_none() {
        if !has_effect {
            return;
        }
        // Nobody can be told to come later, so it waits.
        service.turn(&conversation.spent).await;
    } else if let Err(problem) = service.admit(&conversation.spent) {
        return answer(ack, &problem.to_reply());
    }
    let reply = service.in_time(request(service, conversation, event)).await;
    if matches!(event.name(), "join" | "leave") && reply.is_ok() {
        socket.send_position();
    }
    answer(ack, &reply.unwrap_or_else(|problem| problem.to_reply()));
}

async fn request(service: &Service, conversation: &Conversation, event: &Event) -> Result<Args, Problem> {
    const REQUESTS: [&str; 7] = ["join", "leave", "post", "history", "members", "typing", "rename"];
    if !REQUESTS.contains(&event.name()) {
        return Err(Problem::new(Code::Unsupported, "this server has no such request"));
    }
    let fields = Fields::parse("the request", event.arg(0).unwrap_or_default())?;
    match event.name() {
        "join" => join(conversation, &fields).await,
        "leave" => leave(conversation, &fields),
        "post" => post(service, conversation, event, &fields).await,
        "members" => members(service, conversation, &fields).await,
        "typing" => typing(conversation, &fields).await,
        "rename" => rename(conversation, &fields),
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

async fn members(
    service: &Service,
    conversation: &Conversation,
    fields: &Fields<'_>,
) -> Result<Args, Problem> {
    let room = fields.room()?;
    let after = fields.text("after")?.map(|after| UserId::new(&after)).transpose();
    let after = after.map_err(|invalid| invalid_field("after", &invalid))?;
    let limit = match fields.count("limit")? {
        None => MEMBERS_MAX,
        Some(0) => return Err(Problem::bad_request("`limit` must be at least 1")),
        Some(limit) => u32::try_from(limit).unwrap_or(u32::MAX).min(MEMBERS_MAX),
    };
    if !conversation.is_in(&room) {
        return Err(Problem::new(Code::NotJoined, "join the room before you ask who is there"));
    }
    let who = conversation.identity.id();
    Ok(wire::members(&service.chat.members(who, &room, after.as_ref(), limit).await?))
}

async fn typing(conversation: &Conversation, fields: &Fields<'_>) -> Result<Args, Problem> {
    let room = fields.room()?;
    let typing = if fields.required_flag("typing")? { Typing::Started } else { Typing::Stopped };
    conversation.typing(&room, typing).await?;
    Ok(wire::done())
}

fn rename(conversation: &Conversation, fields: &Fields<'_>) -> Result<Args, Problem> {
    let name = DisplayName::new(&fields.required_text("name")?);
    conversation.rename(name.map_err(|invalid| invalid_field("name", &invalid))?)?;
    Ok(wire::done())
}
