//! One node's ear: a connection of its own that hears the channels of the watched rooms.
//!
//! Redis forgets what is published while nobody listens. So whenever the connection was lost, or a slot has moved, every room is subscribed
//! to anew, and only then the listener is told that it may have missed something.
//!
//! One shard of a cluster that is away makes nobody deaf to the others: the old connection is heard until each room was tried on the new one, and
//! rooms that could not be subscribed to are tried again by themselves. News that both bring is heard twice.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{Interest, Listener, LocalNews, RoomId, StoreError, StoreResult};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::{PushInfo, PushKind, RedisResult, Value};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::{STORE, of_read};
use crate::keys::Keys;
use crate::link::{Connector, Link, PAUSE_MAX, PAUSE_MIN, until_done};
use crate::packed;
use crate::store::RedisStore;

/// For so long nothing more was subscribed to: what waits now has to wait for a server.
const SETTLED: Duration = Duration::from_millis(200);

pub(crate) async fn listen(store: &RedisStore) -> StoreResult<Listener> {
    let ear = Arc::new(Ear {
        keys: store.keys().clone(),
        news: LocalNews::default(),
        watched: Mutex::default(),
        link: watch::channel(None).0,
    });
    let link = ear.connect(store.connector()).await.map_err(of_read)?;
    ear.link.send_replace(Some(link.clone()));
    let Listener { interest: local, heard } = ear.news.listen();
    let stop = CancellationToken::new();
    let keeper = keep(ear.clone(), store.connector().clone(), link);
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
    /// The newest connection; none before the first.
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
async fn keep(ear: Arc<Ear>, connector: Connector, mut link: Link) {
    let mut missing = Vec::new();
    loop {
        let mut checked = link.clone();
        tokio::select! {
            () = connector.until_broken(&mut checked) => {}
            () = subscribe_later(&ear, &link, missing) => {}
        }
        // Here the old one ends.
        (link, missing) = begin_anew(&ear, &connector).await;
    }
}

/// Another connection, once everything was tried on it, and what could not be subscribed to.
async fn begin_anew(ear: &Arc<Ear>, connector: &Connector) -> (Link, Vec<String>) {
    loop {
        let link = until_done("news cannot be heard from Redis", || ear.connect(connector)).await;
        // Before the rooms are looked at: one that is watched from now on is subscribed to here or there.
        ear.link.send_replace(Some(link.clone()));
        let watched = ear.watched().iter().cloned().collect();
        let mut checked = link.clone();
        tokio::select! {
            () = connector.until_broken(&mut checked) => {}
            missing = subscribe(ear, &link, watched) => {
                // Also if there is no room: what is published besides may be missed, too.
                ear.news.interrupt();
                return (link, missing);
            }
        }
    }
}

/// Subscribes to all that is missing, however long it takes. Does not end.
async fn subscribe_later(ear: &Ear, link: &Link, mut missing: Vec<String>) {
    let mut pause = PAUSE_MIN;
    loop {
        missing.retain(|channel| ear.watched().contains(channel));
        // One first: the client connects to a server anew for each that asks for it, and keeps the last of these connections.
        let Some(first) = missing.first().cloned() else { return std::future::pending().await };
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
        match link.clone().subscribe(&[first]).await {
            Ok(()) => missing = subscribe(ear, link, missing).await,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    rooms = missing.len(),
                    "news of some rooms cannot be heard from Redis; trying again"
                );
                // The next one may be of another shard.
                missing.rotate_left(1);
            }
        }
    }
}

/// Tries each channel once, and tells of those that are subscribed to without waiting for the others. Answers what has to be tried again: also
/// what took long, since meanwhile the client may have dropped the connection in favour of another one.
async fn subscribe(ear: &Ear, link: &Link, channels: Vec<String>) -> Vec<String> {
    let mut attempts: FuturesUnordered<_> = channels
        .chunks(link.channels_max())
        .map(|channels| {
            let mut link = link.clone();
            async move { (channels, link.subscribe(channels).await) }
        })
        .collect();
    let (mut again, mut is_untold, mut is_late) = (Vec::new(), false, false);
    loop {
        match timeout(SETTLED, attempts.next()).await {
            Ok(Some((channels, outcome))) => {
                is_untold |= outcome.is_ok();
                if is_late || outcome.is_err() {
                    again.extend_from_slice(channels);
                }
            }
            pause => {
                is_late = true;
                if std::mem::take(&mut is_untold) {
                    ear.news.interrupt();
                }
                if pause.is_ok() {
                    return again;
                }
            }
        }
    }
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
