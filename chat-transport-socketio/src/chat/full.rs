//! The full protocol: requests of one object, each answered by `{ok: true, …}` or `{ok: false, error}`.

use chat_core::{
    DisplayName, Draft, HistoryLimit, Kind, MessageKey, Offset, OverviewLimit, RoomId, Since, Typing, UserId,
};

use super::accounts::Token;
use super::content;
use super::conversation::Conversation;
use super::fields::{Fields, invalid_field};
use super::identity::is_shared;
use super::moderation;
use super::problem::{Code, Problem};
use super::service::{Service, in_time};
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
    let has_effect =
        matches!(event.name(), "join" | "leave" | "post" | "read" | "direct" | "typing" | "rename");
    if ack.is_none() {
        if !has_effect {
            return;
        }
        // Nobody can be told to come later, so it waits.
        service.turn_of(conversation).await;
        match event.name() {
            "join" => service.join_turn_of(conversation).await,
            "rename" => service.notice_turn_of(conversation).await,
            // Best effort: what is behind it does not wait for it.
            "typing" if service.admit_notice(conversation).is_err() => return,
            _ => {}
        }
    } else {
        let admitted = service.admit(conversation).and_then(|()| match event.name() {
            "join" => service.admit_join(conversation),
            "rename" | "typing" => service.admit_notice(conversation),
            _ => Ok(()),
        });
        if let Err(problem) = admitted {
            return answer(ack, &problem.to_reply());
        }
    }
    if event.name() == "read" {
        return read(service, conversation, event, ack).await;
    }
    let reply = service.in_time(request(service, conversation, event)).await;
    if matches!(event.name(), "join" | "leave") && reply.is_ok() {
        socket.send_position();
    }
    answer(ack, &reply.unwrap_or_else(|problem| problem.to_reply()));
}

async fn request(service: &Service, conversation: &Conversation, event: &Event) -> Result<Args, Problem> {
    const REQUESTS: [&str; 10] =
        ["join", "leave", "post", "history", "rooms", "direct", "members", "typing", "rename", "refresh"];
    if !REQUESTS.contains(&event.name()) && !moderation::is_measure(event.name()) {
        return Err(Problem::new(Code::Unsupported, "this server has no such request"));
    }
    let fields = Fields::parse("the request", event.arg(0).unwrap_or_default())?;
    match event.name() {
        "join" => join(service, conversation, &fields).await,
        "leave" => leave(service, conversation, &fields).await,
        "post" => post(service, conversation, event, &fields).await,
        "members" => members(service, conversation, &fields).await,
        "typing" => typing(conversation, &fields).await,
        "rename" => rename(conversation, &fields),
        "rooms" => rooms(service, conversation, &fields).await,
        "direct" => direct(service, conversation, &fields).await,
        "refresh" => refresh(service, conversation, &fields).await,
        name if moderation::is_measure(name) => {
            moderation::request(service, conversation, name, &fields).await
        }
        _ => history(service, conversation, &fields).await,
    }
}

async fn join(service: &Service, conversation: &Conversation, fields: &Fields<'_>) -> Result<Args, Problem> {
    let room = fields.room()?;
    let since = match (fields.place("after")?, fields.count("last")?) {
        (Some(_), Some(_)) => return Err(Problem::bad_request("`after` and `last` exclude each other")),
        (Some(after), None) => after,
        (None, Some(last)) => Since::Last(last),
        (None, None) => Since::Now,
    };
    conversation.space_for(&room)?;
    // Before it is in: then nothing comes between the place and the reply that names it.
    let handle = service.chat.remember_room(conversation.identity.id(), &room).await?;
    let joined = conversation.join(&room, since).await?;
    conversation.name(&room, handle);
    Ok(wire::joined(&joined))
}

/// Ends a membership; a private room stays, and this connection gets no more of it.
async fn leave(service: &Service, conversation: &Conversation, fields: &Fields<'_>) -> Result<Args, Problem> {
    let room = fields.room()?;
    service.chat.forget_room(conversation.identity.id(), &room).await?;
    conversation.leave(&room);
    Ok(wire::done())
}

async fn rooms(service: &Service, conversation: &Conversation, fields: &Fields<'_>) -> Result<Args, Problem> {
    let after = fields.room_if_any("after")?;
    let largest = OverviewLimit::default();
    let rooms = fields.limit(largest.rooms, largest.rooms)?;
    let limit = OverviewLimit { rooms, ..largest };
    let page = service.chat.overview(conversation.identity.id(), after.as_ref(), limit).await?;
    Ok(wire::rooms(&conversation.identity.author(), &page))
}

async fn direct(
    service: &Service,
    conversation: &Conversation,
    fields: &Fields<'_>,
) -> Result<Args, Problem> {
    let user = fields.user()?;
    if is_shared(&user) {
        return Err(Problem::bad_request(
            "`user`: that is nobody in particular, but all guests without a secret",
        ));
    }
    let room = service.chat.direct(&conversation.identity.author(), &user).await?;
    Ok(wire::direct(&room))
}

/// Answered when it is durable; the requests behind it do not wait for that, so that many of them become few writes.
async fn read(service: &Service, conversation: &Conversation, event: &Event, ack: Option<Ack>) {
    let (room, offset) = match read_fields(conversation, event) {
        Ok(fields) => fields,
        Err(problem) => return answer(ack, &problem.to_reply()),
    };
    let (chat, who, is_awaited) = (service.chat.clone(), conversation.identity.id().clone(), ack.is_some());
    let patience = service.settings.request_timeout;
    let mark = async move {
        let marked = in_time(patience, async { Ok(chat.mark_read(&who, &room, offset).await?) }).await;
        answer(ack, &marked.map_or_else(|problem| problem.to_reply(), wire::marked));
    };
    match is_awaited {
        // There are no more of these than a connection may have open acks.
        true => drop(tokio::spawn(mark)),
        false => mark.await,
    }
}

fn read_fields(conversation: &Conversation, event: &Event) -> Result<(RoomId, Offset), Problem> {
    let fields = Fields::parse("the request", event.arg(0).unwrap_or_default())?;
    let room = fields.room()?;
    let offset = fields.offset("offset")?.ok_or_else(|| Problem::bad_request("`offset` is missing"))?;
    if !conversation.is_in(&room) {
        return Err(Problem::new(Code::NotJoined, "join the room before you say how far you have read"));
    }
    Ok((room, offset))
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
    let before = fields.offset("before")?;
    let largest = HistoryLimit::default();
    let messages = fields.limit(HISTORY_MESSAGES, largest.messages)?;
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
    let limit = fields.limit(MEMBERS_MAX, MEMBERS_MAX)?;
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
