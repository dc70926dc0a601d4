//! One node's ear: a connection of its own that hears the channels of the watched rooms.
//!
//! Redis forgets what is published while nobody listens. So whenever the connection was lost, or a slot has moved, every room is subscribed
//! to anew, and only then the listener is told that it may have missed something.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use chat_core::{Interest, Listener, LocalNews, RoomId, StoreError, StoreResult};
use futures_util::StreamExt;
use redis::{PushInfo, PushKind, RedisResult, Value};
use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::{STORE, of_read};
use crate::keys::Keys;
use crate::link::{Connector, Link, until_done};
use crate::packed;
use crate::store::RedisStore;

/// Channels in one command.
const CHANNELS_MAX: usize = 512;

pub(crate) async fn listen(store: &RedisStore) -> StoreResult<Listener> {
    let ear = Arc::new(Ear {
        keys: store.keys().clone(),
        news: LocalNews::default(),
        watched: Mutex::default(),
        link: watch::channel(None).0,
    });
    let link = ear.connect(store.connector()).await.map_err(of_read)?;
    ear.link.send_replace(Some(link));
    let Listener { interest: local, heard } = ear.news.listen();
    let stop = CancellationToken::new();
    let keeper = keep(ear.clone(), store.connector().clone());
    tokio::spawn(stop.clone().run_until_cancelled_owned(keeper));
    let guard = Arc::new(stop.drop_guard());
    let interest = Arc::new(RemoteInterest { ear, local, _guard: guard.clone() });
    // Whichever of the two is dropped last ends the connection.
    let heard = heard.map(move |heard| {
        let _ = &guard;
        heard
    });
    Ok(Listener { interest, heard: heard.boxed() })
}

struct Ear {
    keys: Keys,
    /// Where what is heard waits for the listener, within bounds.
    news: LocalNews,
    watched: Mutex<BTreeSet<String>>,
    /// The connection; none while there is none.
    link: watch::Sender<Option<Link>>,
}

impl Ear {
    async fn connect(self: &Arc<Self>, connector: &Connector) -> RedisResult<Link> {
        let ear = Arc::downgrade(self);
        let hear = move |push, broken: &Notify| {
            if let Some(ear) = ear.upgrade() {
                ear.take(push, broken);
            }
        };
        connector.connect_for_news(hear).await
    }

    fn take(&self, push: PushInfo, broken: &Notify) {
        match (push.kind, &push.data[..]) {
            (
                PushKind::Message | PushKind::SMessage,
                [Value::BulkString(channel), Value::BulkString(published)],
            ) => {
                let room = std::str::from_utf8(channel).ok().and_then(|channel| self.keys.room_of(channel));
                match room.and_then(|room| packed::heard(room, published)) {
                    Some(news) => self.news.announce(&news),
                    None => tracing::debug!("something was published that is no news"),
                }
            }
            // The server has ended it: the slot is somebody else's now.
            (PushKind::SUnsubscribe, [Value::BulkString(channel), ..])
                if std::str::from_utf8(channel).is_ok_and(|channel| self.watched().contains(channel)) =>
            {
                broken.notify_one();
            }
            _ => {}
        }
    }

    fn watched(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.watched.lock().expect("nothing panics while it holds the rooms")
    }
}

/// Makes the connection anew whenever it is lost, for as long as somebody listens.
async fn keep(ear: Arc<Ear>, connector: Connector) {
    loop {
        let link = ear.link.borrow().clone();
        if let Some(mut link) = link {
            connector.until_broken(&mut link).await;
        }
        until_done("news cannot be heard from Redis", || begin_anew(&ear, &connector)).await;
        ear.news.interrupt();
    }
}

async fn begin_anew(ear: &Arc<Ear>, connector: &Connector) -> RedisResult<()> {
    ear.link.send_replace(None);
    let mut link = ear.connect(connector).await?;
    // Before the rooms are looked at: one that is watched from now on is subscribed to here or there.
    ear.link.send_replace(Some(link.clone()));
    let watched: Vec<String> = ear.watched().iter().cloned().collect();
    for channels in watched.chunks(CHANNELS_MAX) {
        link.subscribe(channels).await?;
    }
    Ok(())
}

struct RemoteInterest {
    ear: Arc<Ear>,
    local: Arc<dyn Interest>,
    _guard: Arc<DropGuard>,
}

#[async_trait]
impl Interest for RemoteInterest {
    async fn watch(&self, room: &RoomId) -> StoreResult<()> {
        let channel = self.ear.keys.room(room);
        self.local.watch(room).await?;
        self.ear.watched().insert(channel.clone());
        // Whatever comes of it, the room counts as watched: the keeper subscribes to it with the next connection.
        let link = self.ear.link.borrow().clone();
        let Some(mut link) = link else {
            return Err(StoreError::unavailable(STORE, "the connection for news is lost"));
        };
        link.subscribe(&[channel]).await.map_err(of_read)
    }

    async fn unwatch(&self, room: &RoomId) -> StoreResult<()> {
        let channel = self.ear.keys.room(room);
        self.ear.watched().remove(&channel);
        self.local.unwatch(room).await?;
        let link = self.ear.link.borrow().clone();
        match link {
            Some(mut link) => link.unsubscribe(&channel).await.map_err(of_read),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for RemoteInterest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteInterest").finish_non_exhaustive()
    }
}
