//! The limit of durable posts: rows put into an SQLite file in batches, one commit each, and nothing else.
//!
//! As durable as the project's store has it: write-ahead log, `synchronous=FULL`. One table, whose rows are unique by room, author and key; one prepared statement a row; bodies of 100 bytes.
//! Prints a line of JSON for each batch size: `{"rows_per_commit", "rows", "rows_per_second", "cpu_us_per_row"}`.
//!
//!     bare-sqlite --db FILE [--seconds 3] [--batches 1,16,64,256]
//!
//! FILE is made anew for each batch size, and removed at the end; it should lie on the disk that the other servers' databases lie on.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser;
use rusqlite::{Connection, params};
use serde_json::json;

const BODY_BYTES: usize = 100;

#[derive(Parser)]
struct Options {
    #[arg(long)]
    db: PathBuf,
    /// How long each batch size is measured.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Rows a commit.
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256")]
    batches: Vec<u64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    for &batch in &options.batches {
        remove(&options.db)?;
        let mut database = open(&options.db)?;
        // The first commits make the file grow from nothing.
        insert(&mut database, batch, 0, Duration::from_millis(200))?;
        let (began, busy) = (Instant::now(), processor_time()?);
        let rows = insert(&mut database, batch, 1, Duration::from_secs(options.seconds))?;
        let (took, busy) = (began.elapsed(), processor_time()? - busy);
        let per_second = rows as f64 / took.as_secs_f64();
        let each_us = busy.as_secs_f64() * 1e6 / rows as f64;
        println!(
            "{}",
            json!({ "rows_per_commit": batch, "rows": rows, "rows_per_second": per_second.round(), "cpu_us_per_row": (each_us * 100.0).round() / 100.0 })
        );
    }
    remove(&options.db)?;
    Ok(())
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let database = Connection::open(path)?;
    database.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         CREATE TABLE messages (id INTEGER PRIMARY KEY, room TEXT NOT NULL, author TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL);
         CREATE UNIQUE INDEX messages_once ON messages (room, author, key);",
    )?;
    Ok(database)
}

/// Commits batches for as long as `time`, each row by another client in a room of its own. Returns the number of rows.
fn insert(database: &mut Connection, batch: u64, part: u64, time: Duration) -> rusqlite::Result<u64> {
    let body = [b'x'; BODY_BYTES];
    let began = Instant::now();
    let mut rows = 0;
    while began.elapsed() < time {
        let transaction = database.transaction()?;
        {
            let mut statement = transaction
                .prepare_cached("INSERT INTO messages (room, author, key, body) VALUES (?, ?, ?, ?)")?;
            for client in 0..batch {
                let (room, author, key) =
                    (format!("room-{client}"), format!("author-{client}"), format!("{part}-{rows}"));
                statement.execute(params![room, author, key, body])?;
                rows += 1;
            }
        }
        transaction.commit()?;
    }
    Ok(rows)
}

/// Of this process, its system's share included, to 10 ms.
fn processor_time() -> Result<Duration, Box<dyn Error>> {
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(") ").ok_or("a stat file without a name")?;
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u32>).sum::<Result<u32, _>>()?;
    Ok(TICK * ticks)
}

fn remove(path: &Path) -> io::Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => (),
        }
    }
    Ok(())
}
