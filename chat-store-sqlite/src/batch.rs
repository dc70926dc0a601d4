//! [`Batch`]: drafts that share a commit, and what becomes of each.
//!
//! Offsets are given out here, by the one writer, and drafts are stored in the hope that none of their keys is known. If one is, the database
//! refuses them all; then the known ones are looked up and the others stored. So a new message costs one statement, and a repeat three.

use std::collections::HashMap;

use chat_core::{
    Appended, Body, Bookmark, Draft, Entry, Epoch, Fingerprint, Kind, MessageKey, Offset, Position, RoomId,
    Timestamp, UserId,
};
use sqlx::SqliteConnection;

use crate::body;
use crate::bounds::{column, number, offset, sql_number};
use crate::error::{Failed, Stage, corrupt, is_unique_violation};
use crate::job::Post;
use crate::list::ListStatement;
use crate::log::{decode_body, decode_kind};
use crate::rooms::{self, Room, Rooms};

/// Drafts on their way into the database.
pub(crate) struct Batch<'a> {
    posts: &'a [&'a Post],
    at: Timestamp,
    /// The rooms of the drafts, as they will be after the commit.
    rooms: HashMap<&'a RoomId, Room>,
    /// For each draft: the first one of the batch with its key, itself unless it is a repeat.
    first: Vec<usize>,
    /// For each draft: what was found or stored under its key; filled for the first of each key.
    stored: Vec<Option<Stored>>,
}

/// What is stored under a key.
struct Stored {
    offset: Offset,
    fingerprint: Fingerprint,
    at: Timestamp,
    kind: Kind,
    /// `None` if it is gone.
    body: Option<Body>,
    /// Whether this batch has stored it.
    fresh: bool,
}

impl<'a> Batch<'a> {
    /// `known` has been asked to load the rooms.
    pub(crate) fn new(posts: &'a [&'a Post], known: &Rooms, at: Timestamp) -> Self {
        let mut rooms = HashMap::new();
        let mut firsts: HashMap<(&RoomId, &UserId, &MessageKey), usize> = HashMap::with_capacity(posts.len());
        let mut first = Vec::with_capacity(posts.len());
        for (index, Post { room, draft }) in posts.iter().enumerate() {
            rooms.entry(room).or_insert_with(|| known.get(room).unwrap_or_else(Room::new));
            first.push(*firsts.entry((room, &draft.author.id, &draft.key)).or_insert(index));
        }
        Self { posts, at, rooms, first, stored: posts.iter().map(|_| None).collect() }
    }

    /// Whether it takes more than one statement.
    pub(crate) fn has_new_rooms(&self) -> bool {
        self.rooms.values().any(|room| room.id.is_none())
    }

    /// Stores what is not stored yet. `stage` is that of each statement. Answers whether anything was.
    pub(crate) async fn store(
        &mut self,
        connection: &mut SqliteConnection,
        stage: Stage,
    ) -> Result<bool, Failed> {
        if self.has_new_rooms() {
            self.create_rooms(connection).await?;
        }
        let mut fresh: Vec<usize> =
            (0..self.posts.len()).filter(|index| self.first[*index] == *index).collect();
        let mut places = self.place(&fresh);
        match insert(connection, &places).await {
            Err(error) if is_unique_violation(&error) => {
                self.look_up(connection, &places).await?;
                fresh.retain(|index| self.stored[*index].is_none());
                if fresh.is_empty() {
                    return Ok(false);
                }
                places = self.place(&fresh);
                insert(connection, &places).await.map_err(Failed::at(stage))?;
            }
            outcome => outcome.map_err(Failed::at(stage))?,
        }
        let stored: Vec<(usize, Stored)> =
            places.iter().map(|place| (place.index, place.stored(self.at))).collect();
        for (index, stored) in stored {
            if let Some(room) = self.rooms.get_mut(&self.posts[index].room) {
                let position = Position { epoch: room.bounds.epoch(), offset: stored.offset };
                room.bounds.head = Bookmark { position, fingerprint: stored.fingerprint };
            }
            self.stored[index] = Some(stored);
        }
        Ok(true)
    }

    /// After the commit: tells `known` how far the rooms have come, and answers each draft, in order.
    pub(crate) fn finish(self, known: &mut Rooms) -> Vec<Appended> {
        let answers = (0..self.posts.len()).map(|index| self.answer(index)).collect();
        for (room, is) in self.rooms {
            if is.id.is_some() {
                known.set(room.clone(), is);
            }
        }
        answers
    }

    async fn create_rooms(&mut self, connection: &mut SqliteConnection) -> Result<(), Failed> {
        let new = self.rooms.iter().filter(|(_, room)| room.id.is_none());
        let new: Vec<(RoomId, Epoch)> =
            new.map(|(name, room)| ((*name).clone(), room.bounds.epoch())).collect();
        let rows = rooms::create(connection, &new).await.map_err(Failed::at(Stage::BeforeCommit))?;
        let ids = rooms::created(&rows).map_err(Failed::at(Stage::BeforeCommit))?;
        for (name, room) in &mut self.rooms {
            if room.id.is_none() {
                room.id = ids.get(name.as_str()).copied();
            }
        }
        Ok(())
    }

    /// Gives the drafts at `fresh` the next offsets of their rooms.
    fn place(&self, fresh: &[usize]) -> Vec<Place<'a>> {
        let mut heads: HashMap<&RoomId, (Offset, Fingerprint)> = HashMap::with_capacity(self.rooms.len());
        let places = fresh.iter().filter_map(|&index| {
            let Post { room, draft } = self.posts[index];
            let Room { id, bounds } = self.rooms.get(room)?;
            let head = heads.entry(room).or_insert((bounds.head.offset(), bounds.head.fingerprint));
            *head = (head.0.next(), head.1.then(&draft.author.id, &draft.key, self.at));
            Some(Place { index, room: (*id)?, offset: head.0, fingerprint: head.1, at: self.at, draft })
        });
        places.collect()
    }

    /// Finds what is stored already under the keys of `places`.
    async fn look_up(
        &mut self,
        connection: &mut SqliteConnection,
        places: &[Place<'a>],
    ) -> Result<(), Failed> {
        static KNOWN: ListStatement = ListStatement::new(
            "SELECT column1, e.offset, e.at, e.kind, e.text, e.attachments, e.fingerprint FROM",
            4,
            "JOIN entries AS e ON e.room = column2 AND e.author = column3 AND e.key = column4",
        );
        let mut query = KNOWN.for_rows(places.len());
        for Place { index, room, draft, .. } in places {
            query = query.bind(*index as i64).bind(*room);
            query = query.bind(draft.author.id.as_str()).bind(draft.key.as_str());
        }
        let rows = query.fetch_all(connection).await.map_err(Failed::at(Stage::BeforeCommit))?;
        for row in &rows {
            let index = usize::try_from(column::<i64>(row, 0)?).unwrap_or(usize::MAX);
            let (offset, at) = (offset(row, 1)?, Timestamp::from_millis(number(row, 2)?));
            let post = self.posts.get(index).ok_or_else(|| corrupt("a key that was not asked for"))?;
            // What was trimmed may not have been erased yet.
            let kept = self.rooms.get(&post.room).is_some_and(|room| room.bounds.trimmed.offset() < offset);
            self.stored[index] = Some(Stored {
                offset,
                fingerprint: Fingerprint::from_number(number(row, 6)?),
                at,
                kind: decode_kind(number(row, 3)?)?,
                body: decode_body(row, 4)?.filter(|_| kept),
                fresh: false,
            });
        }
        Ok(())
    }

    fn answer(&self, index: usize) -> Appended {
        let Post { room, draft } = self.posts[index];
        let stored = self.stored[self.first[index]].as_ref().expect("every first draft was stored or found");
        let epoch = self.rooms.get(room).expect("every draft has a room").bounds.epoch();
        let position = Position { epoch, offset: stored.offset };
        let bookmark = Bookmark { position, fingerprint: stored.fingerprint };
        if stored.fresh && self.first[index] == index {
            let Draft { kind, author, key, body } = draft.clone();
            return Appended::Fresh {
                entry: Entry {
                    position,
                    kind,
                    author,
                    key,
                    at: stored.at,
                    fingerprint: stored.fingerprint,
                    body: Some(body),
                },
                announced: true,
            };
        }
        let differs =
            stored.body.as_ref().is_some_and(|body| *body != draft.body || stored.kind != draft.kind);
        if differs {
            Appended::Conflict { bookmark }
        } else {
            Appended::Duplicate { bookmark, at: stored.at }
        }
    }
}

/// A draft with its place.
struct Place<'a> {
    index: usize,
    room: i64,
    offset: Offset,
    fingerprint: Fingerprint,
    at: Timestamp,
    draft: &'a Draft,
}

impl Place<'_> {
    fn stored(&self, at: Timestamp) -> Stored {
        Stored {
            offset: self.offset,
            fingerprint: self.fingerprint,
            at,
            kind: self.draft.kind,
            body: Some(self.draft.body.clone()),
            fresh: true,
        }
    }
}

/// Stores all or nothing.
async fn insert(connection: &mut SqliteConnection, places: &[Place<'_>]) -> Result<(), sqlx::Error> {
    static INSERT: ListStatement = ListStatement::new(
        "INSERT INTO entries (room, offset, at, kind, author, key, fingerprint, name, text, attachments) SELECT * FROM",
        10,
        "WHERE column1 IS NOT NULL",
    );
    let mut query = INSERT.for_rows(places.len());
    for Place { room, offset, fingerprint, at, draft: Draft { kind, author, key, body }, .. } in places {
        query = query.bind(*room).bind(sql_number(offset.get())).bind(sql_number(at.millis()));
        query = query.bind(i64::from(kind.number())).bind(author.id.as_str()).bind(key.as_str());
        query = query.bind(sql_number(fingerprint.number()));
        query = query.bind(author.name.as_str()).bind(body.text.clone()).bind(body::join(&body.attachments));
    }
    query.execute(connection).await?;
    Ok(())
}
