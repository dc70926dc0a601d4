//! What all connections of the chat share, and how one of them begins.

use std::sync::Arc;
use std::time::Duration;

use chat_core::{
    Attendee, Chat, ConnectionId, Fingerprint, Joined, Offset, OwnRoom, OwnRooms, Reader, Roles, RoomId,
    Since, Timestamp,
};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::accounts::{self, Account, Guests, expired, unauthorized, verify};
use super::auth::{Hello, Protocol as Spoken};
use super::conversation::{Conversation, Entries, Protocol, news, place};
use super::identity::{GuestKey, Identity};
use super::places::{Base, Mark, Places, Read, sum as sum_of};
use super::problem::Problem;
use super::rate::{Rate, Spent};
use super::settings::ChatSettings;
use super::signed_in::SignedIn;
use super::users::Users;
use super::{full, tutorial, wire};
use crate::{Accept, Auth, Event, Refusal, Resumption, Socket, SocketId};

/// The chat, as its handlers share it.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) chat: Chat,
    pub(super) settings: ChatSettings,
    rate: Option<Rate>,
    /// Of all connections of a user together.
    user_rate: Option<Rate>,
    join_rate: Option<Rate>,
    notice_rate: Option<Rate>,
    users: Arc<Users>,
    /// From the store, once it could be asked.
    guest_key: OnceCell<GuestKey>,
}

impl Service {
    pub(super) fn new(chat: Chat, settings: ChatSettings) -> Self {
        let rate = settings.requests_per_second.map(|pace| Rate::new(pace, settings.requests_burst));
        let user_rate =
            settings.user_requests_per_second.map(|pace| Rate::new(pace, settings.user_requests_burst));
        let join_rate = settings.joins_per_second.map(|pace| Rate::new(pace, settings.joins_burst));
        let notice_rate = settings.notices_per_second.map(|pace| Rate::new(pace, settings.notices_burst));
        let users = Arc::default();
        Self { chat, settings, rate, user_rate, join_rate, notice_rate, users, guest_key: OnceCell::new() }
    }

    /// Lets a client in, into the rooms that it asks for. A passing trouble is waited out: the client gets no answer meanwhile, and at the
    /// connect deadline the transport gives up, upon which every client comes back.
    pub(super) async fn connect(&self, socket: Socket, auth: Auth) -> Result<Accept, Refusal> {
        if socket.namespace() != wire::NAMESPACE {
            return Err(Refusal::permanent("the chat is in the namespace / alone"));
        }
        let spent = socket.of_connection::<Spent>();
        self.begin(&socket, &auth, spent).await.map_err(|problem| Refusal::Permanent {
            message: problem.message.to_string(),
            data: Some(problem.to_json()),
        })
    }

    async fn begin(&self, socket: &Socket, auth: &Auth, spent: Arc<Spent>) -> Result<Accept, Problem> {
        // It costs as much as a request, and cannot be refused for now: CONNECT_ERROR is final. So it waits.
        let is_first = spent.is_unused();
        self.turn(&spent).await;
        let hello = Hello::parse(auth.raw())?;
        let (identity, signed_in, roles) = self.who(&hello, socket).await?;
        let (protocol, asked) = match hello.protocol {
            Spoken::Tutorial { since } => {
                (Protocol::Tutorial, vec![(self.settings.default_room.clone(), since)])
            }
            Spoken::Full { rooms } => (Protocol::Full, rooms),
        };
        let (known, Read { mut rooms, handled, sum, facts }) =
            match socket.resumption().map(|before| resumed(&before, &identity)) {
                Some(None) => return Ok(Accept::stranger()),
                Some(Some((base, read))) if base.protocol == protocol => (Some(base), read),
                Some(Some(_)) if socket.recovered() => return Ok(Accept::afresh()),
                Some(Some(_)) | None => (None, Places::at_base(&[])),
            };
        let told: Vec<RoomId> =
            known.iter().flat_map(|base| &base.rooms).map(|(room, _)| room.clone()).collect();
        let seen = known.as_ref().map(|base| base.facts.plus(facts));
        let reader = self.reader(&identity, roles, protocol, socket);
        // Now that it is among those who are told, what was decided before it was is asked.
        let mark = patiently(|| async { Ok(self.chat.moderation_mark()?) }).await?;
        patiently(|| async { Ok(self.chat.admits(identity.id())?) }).await?;
        if let Some(base) = &known
            && patiently(|| async { Ok(self.chat.is_signed_out(identity.id(), base.mark)?) }).await?
        {
            return Ok(Accept::stranger());
        }
        // Only who gets its session back also keeps its `pid`, and with it the base.
        let known = known.filter(|_| socket.recovered());
        let kept = known.as_ref().map_or(&[][..], |base| &base.rooms);
        let user = self.users.connect(identity.id(), self.settings.connections_per_user)?;
        let conversation = Conversation::new(identity, protocol, signed_in, reader, spent, user, kept);
        let own = match protocol {
            Protocol::Tutorial => None,
            Protocol::Full => {
                let base = known.as_ref().map(|base| base.facts);
                Some(patiently(|| conversation.follow(base)).await?)
            }
        };
        let mut names = Vec::new();
        for (handle, since) in handled {
            match own.as_ref().and_then(|own| own.named(handle)) {
                Some(room) => {
                    rooms.push((room.clone(), since));
                    names.push((room.clone(), handle));
                }
                // It was left on another device, long ago.
                None if socket.recovered() => return Ok(Accept::afresh()),
                None => {}
            }
        }
        // What its token tells of a room, and be it that the client has left it, counts more than what it asks for each time it connects.
        let mut fresh = Vec::new();
        for (room, since) in asked {
            if !told.contains(&room) && !rooms.iter().any(|(resumed, _)| *resumed == room) {
                fresh.push(room.clone());
                rooms.push((room, since));
            }
        }
        let max = self.chat.limits().rooms_per_reader_max;
        if max < rooms.len() {
            return Err(chat_core::ChatError::TooManyRooms { max }.into());
        }
        if !is_first {
            // Who is cut off stays in its rooms for a while, in the eyes of others. A connection that begins again and again would fill them.
            for _ in &rooms {
                self.turn(&conversation.spent).await;
            }
        }
        let (mut places, is_lost) = self.enter(&conversation, rooms, sum).await?;
        for (handle, room, since) in own.iter().flat_map(|own| self.private_rooms(own, seen)) {
            if max <= places.len() || places.iter().any(|(joined, _)| *joined == room) {
                continue;
            }
            match self.join(&conversation, &room, since).await {
                Ok(joined) => {
                    names.push((room.clone(), handle));
                    places.push((room, place(&joined)));
                }
                // Nobody has asked for it.
                Err(problem) => tracing::debug!(code = ?problem.code, "a private room was not joined"),
            }
        }
        if is_lost && socket.recovered() {
            return Ok(Accept::afresh());
        }
        let facts = own.as_ref().map_or(Offset::ZERO, |own| own.at.offset());
        if known.is_none() {
            conversation.rebase(&places, facts);
        }
        names.iter().for_each(|(room, handle)| conversation.name(room, *handle));
        if let Some(own) = own
            && conversation.identity.lasts()
        {
            fresh.retain(|room| match own.rooms.iter().find(|own| own.room == *room) {
                Some(own) => {
                    conversation.name(room, own.handle);
                    false
                }
                None => true,
            });
            self.remember(&conversation, fresh).await?;
        }
        let base = Base { author: conversation.identity.id().clone(), mark, protocol, facts, rooms: places };
        let conversation = Arc::new(conversation);
        socket.set(conversation.clone());
        socket.attach(Entries::new(conversation, socket.clone()));
        Ok(Accept::new().base(base.write()))
    }

    /// Who the client is by what it shows, and for how long.
    async fn who(&self, hello: &Hello, socket: &Socket) -> Result<(Identity, SignedIn, Roles), Problem> {
        let lineage = socket.lineage();
        let Some(account) = self.account(hello).await? else {
            let key = patiently(|| self.guest_key()).await?;
            return Ok((Identity::of(hello, key, lineage), SignedIn::for_good(), Roles::default()));
        };
        let signed_in = SignedIn::until(account.expires, self.settings.token_notice);
        Ok((Identity::of_account(&account, lineage), signed_in, account.roles))
    }

    fn reader(&self, identity: &Identity, roles: Roles, protocol: Protocol, socket: &Socket) -> Reader {
        let mut attendee = Attendee::new(identity.author(), connection(socket.id())).with_roles(roles);
        if let Some(before) = socket.resumption() {
            attendee = attendee.in_place_of(connection(before.id()));
        }
        self.chat.reader_as(match protocol {
            Protocol::Full => attendee,
            // It has no words for what others do, but they see that it is there.
            Protocol::Tutorial => attendee.without_notices(),
        })
    }

    /// Joins the rooms that a client asks for, or is in by its token. `sum`: see [`Read::sum`]. Answers where it is in each, and whether it has lost
    /// something in any.
    async fn enter(
        &self,
        conversation: &Conversation,
        rooms: Vec<(RoomId, Since)>,
        sum: Option<Fingerprint>,
    ) -> Result<(Vec<(RoomId, Mark)>, bool), Problem> {
        let mut places: Vec<(RoomId, Mark)> = Vec::new();
        let (mut abridged, mut is_lost) = (Vec::new(), false);
        for (room, since) in rooms {
            let joined = match self.join(conversation, &room, since).await {
                Ok(joined) => joined,
                Err(problem) => {
                    // It never was here: the others need not see it for as long as one who was cut off.
                    places.iter().for_each(|(room, _)| conversation.leave(room));
                    return Err(problem);
                }
            };
            if matches!(since, Since::Abridged { .. }) && !joined.lost {
                abridged.push((places.len(), joined.start));
            }
            is_lost |= joined.lost;
            places.push((room, place(&joined)));
        }
        let found = sum_of(abridged.iter().map(|(_, start)| start.fingerprint));
        if !is_lost && sum.is_some_and(|sum| sum != found) {
            // One of them is at an entry of another history that looks alike. Nobody knows which, so each is told.
            is_lost = true;
            for (index, start) in abridged {
                let (room, mark) = &mut places[index];
                *mark = place(&self.join(conversation, room, Mark::untold(start).since()).await?);
            }
        }
        Ok((places, is_lost))
    }

    /// The private rooms that a connection is put into without asking for them, and where: a client that is back gets all of those that have become its
    /// user's since; another one, the newest few from now on.
    fn private_rooms(&self, own: &OwnRooms, seen: Option<Offset>) -> Vec<(Offset, RoomId, Since)> {
        let news = news(&own.rooms, seen.unwrap_or(Offset::ZERO)).into_iter();
        let with = |since: Since| move |own: &OwnRoom| (own.handle, own.room.clone(), since);
        match seen {
            Some(_) => news.map(with(Since::Start)).collect(),
            None => {
                let newest = news.rev().take(self.settings.private_rooms_joined_max);
                newest.map(with(Since::Now)).collect()
            }
        }
    }

    /// Makes the rooms that a client has asked for its user's own. It can read them whether that can be stored now or not.
    async fn remember(&self, conversation: &Conversation, rooms: Vec<RoomId>) -> Result<(), Problem> {
        const PATIENCE: Duration = Duration::from_secs(1);
        conversation.remember_later(rooms);
        match in_time(PATIENCE, conversation.remember()).await {
            Err(problem) if problem.is_passing() => Ok(()),
            outcome => outcome,
        }
    }

    /// Whose the token is that the client shows; none for a guest.
    async fn account(&self, hello: &Hello) -> Result<Option<Account>, Problem> {
        match &hello.token {
            Some(token) => patiently(|| verify(self.settings.accounts.as_ref(), token)).await.map(Some),
            None if self.settings.guests == Guests::Refused => {
                Err(unauthorized("this server has no guests: connect with a `token`"))
            }
            None => Ok(None),
        }
    }

    /// Another token for a connection.
    pub(super) async fn refresh(
        &self,
        conversation: &Conversation,
        token: &accounts::Token,
    ) -> Result<Option<Timestamp>, Problem> {
        if !conversation.signed_in.has_account() {
            return Err(unauthorized("a guest has no token to refresh: connect with one instead"));
        }
        let account = verify(self.settings.accounts.as_ref(), token).await?;
        if account.id != *conversation.identity.id() {
            return Err(unauthorized("`token`: this is another user's: connect with it instead"));
        }
        conversation.signed_in.extend(account.expires, self.settings.token_notice);
        conversation.set_roles(account.roles);
        Ok(account.expires)
    }

    /// A passing trouble is waited out.
    async fn join(
        &self,
        conversation: &Conversation,
        room: &RoomId,
        since: Since,
    ) -> Result<Joined, Problem> {
        patiently(|| conversation.join(room, since)).await.map_err(|problem| problem.in_room(room))
    }

    async fn guest_key(&self) -> Result<&GuestKey, Problem> {
        let key = || async { self.chat.store_identity().await.map(GuestKey::derive) };
        Ok(self.guest_key.get_or_try_init(key).await?)
    }

    /// Whatever a client that was let in sends.
    pub(super) async fn handle(&self, socket: Socket, mut event: Event) {
        let Some(conversation) = socket.get::<Arc<Conversation>>() else { return };
        let ack = event.ack.take();
        if conversation.signed_in.has_expired() {
            // It is about to be told so, and disconnected.
            return tutorial::answer(ack, &expired().to_reply());
        }
        match conversation.protocol {
            Protocol::Tutorial => tutorial::handle(self, &conversation, &event, ack).await,
            Protocol::Full => full::handle(self, &socket, &conversation, &event, ack).await,
        }
    }

    /// Waits for the connection's turn.
    async fn turn(&self, spent: &Spent) {
        wait(self.rate, spent).await;
    }

    /// Waits for the turn of a request: the connection's, and the user's.
    pub(super) async fn turn_of(&self, conversation: &Conversation) {
        wait(self.rate, &conversation.spent).await;
        wait(self.user_rate, &conversation.user.used.requests).await;
    }

    /// As [`Service::turn_of`], for a join.
    pub(super) async fn join_turn_of(&self, conversation: &Conversation) {
        wait(self.join_rate, &conversation.joins).await;
    }

    /// Counts a request, or refuses it for now.
    pub(super) fn admit(&self, conversation: &Conversation) -> Result<(), Problem> {
        take(self.rate, &conversation.spent)?;
        take(self.user_rate, &conversation.user.used.requests)
    }

    /// As [`Service::admit`], for a join.
    pub(super) fn admit_join(&self, conversation: &Conversation) -> Result<(), Problem> {
        take(self.join_rate, &conversation.joins)
    }

    /// As [`Service::turn_of`], for what is told to everybody.
    pub(super) async fn notice_turn_of(&self, conversation: &Conversation) {
        wait(self.notice_rate, &conversation.user.used.notices).await;
    }

    /// As [`Service::admit`], for what is told to everybody.
    pub(super) fn admit_notice(&self, conversation: &Conversation) -> Result<(), Problem> {
        take(self.notice_rate, &conversation.user.used.notices)
    }

    /// A request that takes too long counts as failed for now.
    pub(super) async fn in_time<T>(
        &self,
        request: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        in_time(self.settings.request_timeout, request).await
    }
}

/// As [`Service::in_time`], for what goes on by itself.
pub(super) async fn in_time<T>(
    patience: Duration,
    request: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let answer = tokio::time::timeout(patience, request).await;
    answer.unwrap_or_else(|_| Err(Problem::timeout()))
}

async fn wait(rate: Option<Rate>, spent: &Spent) {
    let Some(rate) = rate else { return };
    while let Err(wait) = spent.take(rate, Instant::now()) {
        tokio::time::sleep(wait).await;
    }
}

fn take(rate: Option<Rate>, spent: &Spent) -> Result<(), Problem> {
    match rate.map(|rate| spent.take(rate, Instant::now())) {
        Some(Err(wait)) => Err(Problem::rate_limited(wait)),
        Some(Ok(())) | None => Ok(()),
    }
}

fn connection(id: SocketId) -> ConnectionId {
    ConnectionId::new(&id.to_string()).expect("an id of a socket is plain text")
}

/// What the client's last connection began with, and the rooms that it was in; none if that was somebody else.
fn resumed(before: &Resumption, identity: &Identity) -> Option<(Base, Read)> {
    let base = Base::read(before.base()).filter(|base| base.author == *identity.id())?;
    let read = before.place().and_then(|place| Places::read(&base.rooms, place));
    let read = read.unwrap_or_else(|| Places::at_base(&base.rooms));
    Some((base, read))
}

/// Tries until it succeeds, or fails for good.
pub(super) async fn patiently<T, F>(attempt: impl Fn() -> F) -> Result<T, Problem>
where
    F: Future<Output = Result<T, Problem>>,
{
    const PAUSE_MAX: Duration = Duration::from_secs(2);
    let mut pause = Duration::from_millis(50);
    loop {
        match attempt().await {
            Err(problem) if problem.is_passing() => {
                // Up to half as long again, so that those who wait do not all come at once.
                tokio::time::sleep(pause.mul_f64(1.0 + rand::random::<f64>() / 2.0)).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            answer => return answer,
        }
    }
}
