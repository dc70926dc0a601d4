//! What all connections of the chat share, and how one of them begins.

use std::sync::Arc;
use std::time::Duration;

use chat_core::{Attendee, Chat, ConnectionId, Joined, RoomId, Since};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::auth::{Hello, Protocol as Spoken};
use super::conversation::{Conversation, Entries, Protocol, place};
use super::identity::{GuestKey, Identity};
use super::places::{Base, Mark, Places, Read, sum as sum_of};
use super::problem::Problem;
use super::rate::{Rate, Spent};
use super::settings::ChatSettings;
use super::{full, tutorial, wire};
use crate::{Accept, Auth, Event, Refusal, Resumption, Socket};

/// The chat, as its handlers share it.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) chat: Chat,
    pub(super) settings: ChatSettings,
    rate: Option<Rate>,
    /// From the store, once it could be asked.
    guest_key: OnceCell<GuestKey>,
}

impl Service {
    pub(super) fn new(chat: Chat, settings: ChatSettings) -> Self {
        let rate = settings.requests_per_second.map(|pace| Rate::new(pace, settings.requests_burst));
        Self { chat, settings, rate, guest_key: OnceCell::new() }
    }

    /// Lets a client in, into the rooms that it asks for. A passing trouble is waited out: the client gets no answer meanwhile, and at the
    /// connect deadline the transport gives up, upon which every client comes back.
    pub(super) async fn connect(&self, socket: Socket, auth: Auth) -> Result<Accept, Refusal> {
        if socket.namespace() != wire::NAMESPACE {
            return Err(Refusal::permanent("the chat is in the namespace / alone"));
        }
        let spent = socket.of_connection::<Spent>();
        // It costs as much as a request, and cannot be refused for now: CONNECT_ERROR is final. So it waits.
        self.turn(&spent).await;
        self.begin(&socket, &auth, spent).await.map_err(|problem| Refusal::Permanent {
            message: problem.message.to_string(),
            data: Some(problem.to_json()),
        })
    }

    async fn begin(&self, socket: &Socket, auth: &Auth, spent: Arc<Spent>) -> Result<Accept, Problem> {
        let hello = Hello::parse(auth.raw())?;
        let key = patiently(|| self.guest_key()).await?;
        let identity = Identity::of(&hello, key, socket.lineage());
        let (protocol, asked) = match hello.protocol {
            Spoken::Tutorial { since } => {
                (Protocol::Tutorial, vec![(self.settings.default_room.clone(), since)])
            }
            Spoken::Full { rooms } => (Protocol::Full, rooms),
        };
        let (known, Read { mut rooms, sum }) =
            match socket.resumption().map(|before| resumed(&before, &identity)) {
                Some(None) => return Ok(Accept::stranger()),
                Some(Some((base, read))) if base.protocol == protocol => (Some(base), read),
                Some(Some(_)) if socket.recovered() => return Ok(Accept::afresh()),
                Some(Some(_)) | None => (None, Places::at_base(&[])),
            };
        // What its token tells of a room, and be it that the client has left it, counts more than what it asks for each time it connects.
        let is_told = |room: &RoomId| known.iter().flat_map(|base| &base.rooms).any(|(told, _)| told == room);
        for (room, since) in asked {
            if !is_told(&room) && !rooms.iter().any(|(resumed, _)| *resumed == room) {
                rooms.push((room, since));
            }
        }
        let max = self.chat.limits().rooms_per_reader_max;
        if max < rooms.len() {
            return Err(chat_core::ChatError::TooManyRooms { max }.into());
        }
        let connection =
            ConnectionId::new(&socket.id().to_string()).expect("an id of a socket is plain text");
        let attendee = Attendee::new(identity.author(), connection);
        let reader = self.chat.reader_as(match protocol {
            Protocol::Full => attendee,
            // It has no words for what others do, but they see that it is there.
            Protocol::Tutorial => attendee.without_notices(),
        });
        // Only who gets its session back also keeps its `pid`, and with it the base.
        let known = known.filter(|_| socket.recovered());
        let kept = known.as_ref().map_or(&[][..], |base| &base.rooms);
        let conversation = Conversation::new(identity, protocol, reader, spent, kept);
        let mut places = Vec::new();
        let (mut abridged, mut is_lost) = (Vec::new(), false);
        for (room, since) in rooms {
            let joined = self.join(&conversation, &room, since).await?;
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
                *mark = place(&self.join(&conversation, room, Mark::untold(start).since()).await?);
            }
        }
        if is_lost && socket.recovered() {
            return Ok(Accept::afresh());
        }
        if known.is_none() {
            conversation.rebase(&places);
        }
        let base = Base { author: conversation.identity.id().clone(), protocol, rooms: places };
        let conversation = Arc::new(conversation);
        socket.set(conversation.clone());
        socket.attach(Entries(conversation));
        Ok(Accept::new().base(base.write()))
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
        match conversation.protocol {
            Protocol::Tutorial => tutorial::handle(self, &conversation, &event, ack).await,
            Protocol::Full => full::handle(self, &socket, &conversation, &event, ack).await,
        }
    }

    /// Waits for the client's turn.
    pub(super) async fn turn(&self, spent: &Spent) {
        let Some(rate) = self.rate else { return };
        while let Err(wait) = spent.take(rate, Instant::now()) {
            tokio::time::sleep(wait).await;
        }
    }

    /// Counts a request, or refuses it for now.
    pub(super) fn admit(&self, spent: &Spent) -> Result<(), Problem> {
        match self.rate.map(|rate| spent.take(rate, Instant::now())) {
            Some(Err(wait)) => Err(Problem::rate_limited(wait)),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// A request that takes too long counts as failed for now.
    pub(super) async fn in_time<T>(
        &self,
        request: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let answer = tokio::time::timeout(self.settings.request_timeout, request).await;
        answer.unwrap_or_else(|_| Err(Problem::timeout()))
    }
}

/// What the client's last connection began with, and the rooms that it was in; none if that was somebody else.
fn resumed(before: &Resumption, identity: &Identity) -> Option<(Base, Read)> {
    let base = Base::read(before.base()).filter(|base| base.author == *identity.id())?;
    let read = before.place().and_then(|place| Places::read(&base.rooms, place));
    let read = read.unwrap_or_else(|| Places::at_base(&base.rooms));
    Some((base, read))
}

/// Tries until it succeeds, or fails for good.
async fn patiently<T, F>(attempt: impl Fn() -> F) -> Result<T, Problem>
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
