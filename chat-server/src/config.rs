//! What the server is told to do: every setting as a checked value, with its default.
//!
//! A pure function of the command line, the environment and the configuration file; which of them wins is decided in `settings.rs`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chat_transport_socketio::chat::Guests;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use crate::rules::Rules;
use crate::settings::{Given, Refused};
use crate::tokens::{Expiry, Key, Wanted};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A message sent again must be recognised for at least this long.
const KEEP_KEYS_DAYS_MIN: u32 = 7;
/// Each costs a little memory for as long as somebody is in it.
const ROOMS_MAX: usize = 10_000;
/// What a store takes, with something to spare.
const PACKET_BYTES_MAX: usize = 50_000_000;
/// Name and room and id of a message, which come in a packet with its content, at their longest.
const AROUND_CONTENT_BYTES: usize = 2_000;
/// The official client ends its connection at a packet with more, and does so again each time it comes back.
const ATTACHMENTS_MAX: usize = 10;
/// Connections of a user that may be as busy as they can be at a time.
const USER_CONNECTIONS_BUSY: NonZeroU32 = NonZeroU32::new(4).expect("not zero");
const SECONDS_MAX: u64 = 3_600;
/// More than a lifetime; keeps every sum of times far from overflowing.
const DAYS_MAX: u32 = 100_000;

/// The checked configuration. Zero in a setting for which zero means "no limit" is `None` here.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) store: StoreUrl,
    pub(crate) public_url: Option<String>,
    pub(crate) origins: Origins,
    pub(crate) accounts: Accounts,
    /// From which file, and what is in it; none: everybody may do everything but manage.
    pub(crate) rules: Option<(PathBuf, Rules)>,
    pub(crate) requests_per_second: Option<NonZeroU32>,
    pub(crate) user_requests_per_second: Option<NonZeroU32>,
    pub(crate) joins_per_second: Option<NonZeroU32>,
    pub(crate) notices_per_second: Option<NonZeroU32>,
    pub(crate) user_connections: Option<NonZeroU32>,
    pub(crate) first_visit_max: Option<NonZeroU32>,
    pub(crate) rooms_max: usize,
    pub(crate) user_rooms_max: usize,
    pub(crate) packet: Packet,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) keep: Keep,
    pub(crate) log: Log,
}

/// Where messages are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreUrl {
    Memory,
    Sqlite(PathBuf),
    Redis(RedisUrl),
}

/// Where Redis is, each address with its scheme, and a user and a password where that is needed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum RedisUrl {
    One(String),
    /// Some of its nodes.
    Cluster(Vec<String>),
    /// The primary's address has its name in place of a host, which its sentinels know.
    Sentinel {
        primary: String,
        sentinels: Vec<String>,
    },
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rest may contain a password.
        f.write_str(match self {
            Self::One(_) => "RedisUrl::One",
            Self::Cluster(_) => "RedisUrl::Cluster",
            Self::Sentinel { .. } => "RedisUrl::Sentinel",
        })
    }
}

/// Which other sites' pages may connect; the server's own always may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origins {
    Any,
    Listed(Vec<String>),
}

/// Who is let in, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accounts {
    /// What a token must say; none: clients that have one are refused.
    pub(crate) tokens: Option<Wanted>,
    pub(crate) guests: Guests,
    pub(crate) notice: Duration,
}

/// What a client may send at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    /// More than [`Self::content_bytes`], by what comes around a message's content.
    pub(crate) bytes: usize,
    pub(crate) content_bytes: usize,
    pub(crate) attachments: usize,
}

/// How a connection is found to be dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heartbeat {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

/// How long things are kept. `None`: for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keep {
    pub(crate) messages: KeptMessages,
    pub(crate) age_max: Option<Duration>,
    /// How many replicas must have a message before it is acknowledged, where the store has replicas.
    pub(crate) replicas: usize,
    pub(crate) keys: Duration,
}

/// How many messages of each room are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeptMessages {
    /// As many as the store keeps by itself.
    StoresDefault,
    All,
    Newest(NonZeroU32),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Log {
    pub(crate) filter: Targets,
    pub(crate) format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl Config {
    /// Reads and checks all settings. `arguments` begins with the program's name.
    pub(crate) fn read(
        arguments: &[String],
        variable: impl Fn(&str) -> Option<String>,
        read_file: impl Fn(&Path) -> std::io::Result<String>,
    ) -> Result<Self, Refused> {
        let given = Given::gather(arguments, variable, &read_file)?;
        let requests_per_second = given.read("requests-per-second", NonZeroU32::new(50), limit)?;
        // Whoever wants no limit on requests wants none of these either.
        let user_requests = requests_per_second.map(|pace| pace.saturating_mul(USER_CONNECTIONS_BUSY));
        let joins = requests_per_second.and(NonZeroU32::new(20));
        let notices = requests_per_second.and(NonZeroU32::new(5));
        Ok(Self {
            listen: given.read("listen", SocketAddr::from((Ipv4Addr::LOCALHOST, 3000)), address)?,
            store: given.read("store", StoreUrl::default(), store)?,
            public_url: given.read("public-url", None, |text| site(text).map(Some))?,
            origins: origins(given.read_all("origin", origin)?),
            accounts: accounts(&given, &read_file)?,
            rules: given.read("rules", None, |path| {
                let rules = Rules::parse(&text_of(&read_file, path)?)?;
                Ok(Some((PathBuf::from(path), rules)))
            })?,
            requests_per_second,
            user_requests_per_second: given.read("user-requests-per-second", user_requests, limit)?,
            joins_per_second: given.read("joins-per-second", joins, limit)?,
            notices_per_second: given.read("notices-per-second", notices, limit)?,
            user_connections: given.read("user-connections", NonZeroU32::new(100), limit)?,
            first_visit_max: given.read("first-visit", None, limit)?,
            rooms_max: given.read("rooms", 100, within(1..=ROOMS_MAX))?,
            user_rooms_max: given.read("user-rooms", 1_000, within(1..=ROOMS_MAX))?,
            packet: packet(&given)?,
            heartbeat: Heartbeat {
                interval: given.read("ping-interval", Duration::from_secs(25), seconds)?,
                timeout: given.read("ping-timeout", Duration::from_secs(20), seconds)?,
            },
            keep: Keep {
                messages: given.read("keep-messages", KeptMessages::StoresDefault, |text| {
                    Ok(limit(text)?.map_or(KeptMessages::All, KeptMessages::Newest))
                })?,
                replicas: given.read("replicas", 0, within(0..=1_000))?,
                age_max: given
                    .read("keep-days", None, |text| Ok(days(text, 0)?.map(|days| DAY * days.get())))?,
                keys: given.read("keep-keys-days", DAY * KEEP_KEYS_DAYS_MIN, |text| {
                    Ok(days(text, KEEP_KEYS_DAYS_MIN)?.map_or(Duration::ZERO, |days| DAY * days.get()))
                })?,
            },
            log: Log {
                filter: given.read("log", Targets::new().with_default(LevelFilter::INFO), log_filter)?,
                format: given.read("log-format", LogFormat::Text, log_format)?,
            },
        })
    }
}

impl Default for StoreUrl {
    /// The best that is compiled in.
    fn default() -> Self {
        if cfg!(feature = "sqlite") { Self::Sqlite(PathBuf::from("chat.db")) } else { Self::Memory }
    }
}

/// `ADDR:PORT`, or a port alone for this machine only.
fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse() {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse().map_err(|_| match text.parse::<IpAddr>() {
        Ok(address) => format!("the port is missing; write {}", SocketAddr::new(address, 3000)),
        Err(_) => {
            "write an address and a port, such as 127.0.0.1:3000 or 0.0.0.0:3000, or a port alone".to_owned()
        }
    })
}

fn store(text: &str) -> Result<StoreUrl, String> {
    const COMPILED_IN: &str = match (cfg!(feature = "sqlite"), cfg!(feature = "redis")) {
        (true, true) => {
            "sqlite:PATH, redis://HOST:PORT, redis+cluster://HOST:PORT,HOST:PORT, redis+sentinel://HOST:PORT,HOST:PORT/NAME or memory:"
        }
        (true, false) => "sqlite:PATH or memory:",
        (false, true) => {
            "redis://HOST:PORT, redis+cluster://HOST:PORT,HOST:PORT, redis+sentinel://HOST:PORT,HOST:PORT/NAME or memory:"
        }
        (false, false) => "memory:",
    };
    match text.split_once(':') {
        Some(("memory", "")) => Ok(StoreUrl::Memory),
        Some(("sqlite", "")) => Err("the path is missing; write sqlite:chat.db".to_owned()),
        // Both spellings with slashes are in use: sqlite://chat.db is relative, sqlite:///var/chat.db absolute.
        Some(("sqlite", path)) if cfg!(feature = "sqlite") => {
            Ok(StoreUrl::Sqlite(PathBuf::from(path.strip_prefix("//").unwrap_or(path))))
        }
        Some(("redis" | "rediss", _)) if cfg!(feature = "redis") => {
            Ok(StoreUrl::Redis(RedisUrl::One(text.to_owned())))
        }
        Some((scheme @ ("redis+cluster" | "rediss+cluster"), nodes)) if cfg!(feature = "redis") => {
            redis_cluster(scheme, nodes).map(StoreUrl::Redis)
        }
        Some((scheme @ ("redis+sentinel" | "rediss+sentinel"), rest)) if cfg!(feature = "redis") => {
            redis_sentinel(scheme, rest).map(StoreUrl::Redis)
        }
        Some((scheme, _)) if ["sqlite", "redis", "rediss"].contains(&plain(scheme)) => {
            Err(format!("{scheme} is not compiled into this server; it has {COMPILED_IN}"))
        }
        _ => Err(format!("write {COMPILED_IN}")),
    }
}

/// A scheme without what follows the plus sign.
fn plain(scheme: &str) -> &str {
    scheme.split_once('+').map_or(scheme, |(plain, _)| plain)
}

/// The nodes of a cluster, with one user and password for all of them in front.
fn redis_cluster(scheme: &str, rest: &str) -> Result<RedisUrl, String> {
    let (login, nodes) = login(rest);
    let urls = addresses(plain(scheme), login, nodes);
    if urls.is_empty() {
        return Err(format!("name at least one node of the cluster: {scheme}://HOST:PORT"));
    }
    Ok(RedisUrl::Cluster(urls))
}

/// The sentinels, and the primary's name. A user and password in front are those of Redis; the sentinels' own ones are in a query.
fn redis_sentinel(scheme: &str, rest: &str) -> Result<RedisUrl, String> {
    let wanted =
        || format!("name the sentinels and the primary as they know it: {scheme}://HOST:PORT,HOST:PORT/NAME");
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (login, rest) = login(rest);
    let (sentinels, name) = rest.split_once('/').ok_or_else(wanted)?;
    let (mut user, mut password) = ("", "");
    for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match key {
            "sentinel_user" => user = value,
            "sentinel_password" => password = value,
            _ => return Err(format!("{key} means nothing here; write sentinel_user or sentinel_password")),
        }
    }
    let own = if query.is_empty() { String::new() } else { format!("{user}:{password}@") };
    let sentinels = addresses(plain(scheme), &own, sentinels);
    if sentinels.is_empty() || name.is_empty() {
        return Err(wanted());
    }
    Ok(RedisUrl::Sentinel { primary: format!("{}://{login}{name}", plain(scheme)), sentinels })
}

/// What is in front of the addresses, with its `@`, and the rest.
fn login(rest: &str) -> (&str, &str) {
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    rest.split_at(rest.rfind('@').map_or(0, |at| at + 1))
}

fn addresses(scheme: &str, login: &str, list: &str) -> Vec<String> {
    let each = list.split(',').filter(|address| !address.is_empty());
    each.map(|address| format!("{scheme}://{login}{address}")).collect()
}

/// A number, with 0 for "no limit".
fn limit(text: &str) -> Result<Option<NonZeroU32>, String> {
    let number: u32 = text.parse().map_err(|_| format!("write a whole number from 0 to {}", u32::MAX))?;
    Ok(NonZeroU32::new(number))
}

/// A number within `range`.
fn within(range: RangeInclusive<usize>) -> impl Fn(&str) -> Result<usize, String> {
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("write a whole number from {} to {}", range.start(), range.end())),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(number) if (1..=SECONDS_MAX).contains(&number) => Ok(Duration::from_secs(number)),
        _ => Err(format!("write a whole number of seconds from 1 to {SECONDS_MAX}")),
    }
}

fn text_of(read_file: &impl Fn(&Path) -> std::io::Result<String>, path: &str) -> Result<String, String> {
    read_file(Path::new(path)).map_err(|error| format!("it cannot be read: {error}"))
}

fn accounts(
    given: &Given,
    read_file: &impl Fn(&Path) -> std::io::Result<String>,
) -> Result<Accounts, Refused> {
    let keys = [
        given.read("token-secret", None, |text| Key::secret(text).map(Some))?,
        given.read("token-secret-file", None, |path| Key::secret(&text_of(read_file, path)?).map(Some))?,
        given.read("token-public-key", None, |path| Key::public(&text_of(read_file, path)?).map(Some))?,
    ];
    let mut keys = keys.into_iter().flatten();
    let key = keys.next();
    if keys.next().is_some() {
        return Err(Refused::Setting(
            "tokens are verified with one key: give one of token-secret, token-secret-file and token-public-key".to_owned(),
        ));
    }
    let guests = given.read("guests", Guests::Welcome, guests)?;
    let notice = given.read("token-notice", Duration::from_secs(60), seconds)?;
    let skew = given.read("token-skew", 30, |text| match text.parse() {
        Ok(number) if number <= SECONDS_MAX => Ok(number),
        _ => Err(format!("write a whole number of seconds from 0 to {SECONDS_MAX}")),
    })?;
    let expiry = given.read("token-expiry", Expiry::Required, expiry)?;
    let named =
        |text: &str| if text.is_empty() { Err("a name is wanted".to_owned()) } else { Ok(text.to_owned()) };
    let audiences = given.read_all("token-audience", named)?;
    let issuers = given.read_all("token-issuer", named)?;
    let Some(key) = key else {
        let useless = ["token-audience", "token-issuer", "token-skew", "token-expiry", "token-notice"];
        if let Some(name) = useless.into_iter().find(|name| given.has(name)) {
            return Err(Refused::Setting(format!(
                "{name} has no effect without a key to verify tokens with: give token-secret-file or token-public-key"
            )));
        }
        if guests == Guests::Refused {
            return Err(Refused::Setting(
                "without guests and without a key to verify tokens with nobody could connect: give token-secret-file or token-public-key"
                    .to_owned(),
            ));
        }
        return Ok(Accounts { tokens: None, guests, notice });
    };
    let tokens = Some(Wanted { key, audiences, issuers, skew_seconds: skew, expiry });
    Ok(Accounts { tokens, guests, notice })
}

fn guests(text: &str) -> Result<Guests, String> {
    match text {
        "welcome" => Ok(Guests::Welcome),
        "refused" => Ok(Guests::Refused),
        _ => Err("write welcome or refused".to_owned()),
    }
}

fn expiry(text: &str) -> Result<Expiry, String> {
    match text {
        "required" => Ok(Expiry::Required),
        "optional" => Ok(Expiry::Optional),
        _ => Err("write required or optional".to_owned()),
    }
}

fn packet(given: &Given) -> Result<Packet, Refused> {
    let bytes = given.read("packet-bytes", 1_000_000, within(2 * AROUND_CONTENT_BYTES..=PACKET_BYTES_MAX))?;
    let largest = bytes - AROUND_CONTENT_BYTES;
    let content_bytes = given.read("content-bytes", 64 * 1024, within(1..=PACKET_BYTES_MAX))?;
    if largest < content_bytes {
        return Err(Refused::Setting(format!(
            "content of {content_bytes} bytes does not fit into a packet of {bytes}: set content-bytes to {largest} or less, \
             or packet-bytes to {} or more",
            content_bytes + AROUND_CONTENT_BYTES
        )));
    }
    let attachments = given.read("attachments", ATTACHMENTS_MAX, within(0..=ATTACHMENTS_MAX))?;
    Ok(Packet { bytes, content_bytes, attachments })
}

fn days(text: &str, min: u32) -> Result<Option<NonZeroU32>, String> {
    match text.parse::<u32>() {
        Ok(number) if (min..=DAYS_MAX).contains(&number) => Ok(NonZeroU32::new(number)),
        _ => Err(format!("write a whole number of days from {min} to {DAYS_MAX}")),
    }
}

/// An address of the web without a path, as a browser names it in `Origin`.
fn site(text: &str) -> Result<String, String> {
    let wanted = || {
        "write it as a browser names it, such as https://chat.example.org or http://localhost:8080".to_owned()
    };
    let text = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
    let (scheme, host) = text.split_once("://").ok_or_else(wanted)?;
    let host_is_plain = !host.is_empty()
        && host.chars().all(|character| character.is_ascii_alphanumeric() || ".-:[]_".contains(character));
    if matches!(scheme, "http" | "https") && host_is_plain { Ok(text) } else { Err(wanted()) }
}

/// A site, or `*` for any (`None`).
fn origin(text: &str) -> Result<Option<String>, String> {
    if text == "*" { Ok(None) } else { site(text).map(Some) }
}

fn origins(given: Vec<Option<String>>) -> Origins {
    given.into_iter().collect::<Option<Vec<_>>>().map_or(Origins::Any, Origins::Listed)
}

fn log_filter(text: &str) -> Result<Targets, String> {
    text.parse().map_err(|_| {
        "write error, warn, info, debug or trace, or a list such as info,chat_core=debug".to_owned()
    })
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("write text or json".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Config, String> {
        let arguments: Vec<String> =
            ["chat-server"].iter().chain(arguments).map(|text| (*text).to_owned()).collect();
        Config::read(&arguments, |_| None, |_| panic!("no file was named"))
            .map_err(|refused| refused.to_string())
    }

    fn refused(arguments: &[&str]) -> String {
        read(arguments).expect_err("it is refused")
    }

    #[test]
    fn without_any_setting_the_server_is_for_this_machine_and_keeps_everything() {
        let config = read(&[]).unwrap();
        assert_eq!(config.listen, "127.0.0.1:3000".parse().unwrap());
        assert_eq!(config.store, StoreUrl::default());
        assert_eq!(config.origins, Origins::Listed(Vec::new()));
        assert_eq!(config.requests_per_second, NonZeroU32::new(50));
        assert_eq!(config.packet, Packet { bytes: 1_000_000, content_bytes: 65_536, attachments: 10 });
        assert_eq!((config.rooms_max, config.user_rooms_max), (100, 1_000));
        assert_eq!(
            config.keep,
            Keep { messages: KeptMessages::StoresDefault, age_max: None, replicas: 0, keys: DAY * 7 }
        );
        assert_eq!(config.log, Log { filter: "info".parse().unwrap(), format: LogFormat::Text });
    }

    fn with_files(arguments: &[&str]) -> Result<Config, String> {
        let arguments: Vec<String> =
            ["chat-server"].iter().chain(arguments).map(|text| (*text).to_owned()).collect();
        let secret = |name: &str| (name == "CHAT_TOKEN_SECRET").then(|| "s".repeat(40));
        let variable = |name: &str| if arguments.len() == 2 { secret(name) } else { None };
        let file = |path: &Path| match path.to_str() {
            Some("secret") => Ok(format!("{}\n", "x".repeat(40))),
            Some("short") => Ok("password".to_owned()),
            Some("rules") => Ok("[[rule]]\nroom = 'a'\nwho = 'everybody'\nallow = []".to_owned()),
            _ => Err(std::io::Error::from(std::io::ErrorKind::NotFound)),
        };
        Config::read(&arguments, variable, file).map_err(|refused| refused.to_string())
    }

    #[test]
    fn tokens_are_verified_with_one_key_that_is_never_on_the_command_line() {
        assert_eq!(read(&[]).unwrap().accounts.tokens, None);
        let wanted =
            with_files(&["--token-secret-file=secret", "--token-audience=chat", "--token-skew=0"]).unwrap();
        let wanted = wanted.accounts.tokens.unwrap();
        assert_eq!((wanted.key, wanted.skew_seconds), (Key::Secret(b"x".repeat(40)), 0));
        assert_eq!((wanted.audiences, wanted.expiry), (vec!["chat".to_owned()], Expiry::Required));
        let by_variable = with_files(&["--guests=refused"]).unwrap().accounts;
        assert_eq!(by_variable.tokens.unwrap().key, Key::Secret(b"s".repeat(40)));
        for (arguments, part) in [
            (
                vec!["--token-secret-file=short", "--rooms=1"],
                "--token-secret-file: \"short\" cannot be used: a secret has at least 32 bytes",
            ),
            (vec!["--token-secret-file=gone", "--rooms=1"], "it cannot be read"),
            (vec!["--token-secret-file=secret"], "tokens are verified with one key"),
            (vec!["--token-public-key=secret", "--rooms=1"], "an Ed25519 public key is wanted"),
            (vec!["--token-audience=chat", "--rooms=1"], "token-audience has no effect without a key"),
            (vec!["--guests=refused", "--rooms=1"], "nobody could connect"),
            (vec!["--guests=no"], "write welcome or refused"),
            (vec!["--token-skew=-1"], "seconds from 0 to 3600"),
            (vec!["--rules=rules"], "line 3: \"everybody\" cannot be used"),
            (vec!["--rules=gone"], "it cannot be read"),
        ] {
            let message = with_files(&arguments).unwrap_err();
            assert!(message.contains(part), "{arguments:?}: {message}");
        }
    }

    #[test]
    fn a_port_alone_is_open_to_this_machine_only() {
        assert_eq!(read(&["--listen", "4000"]).unwrap().listen, "127.0.0.1:4000".parse().unwrap());
        assert_eq!(read(&["--listen", "localhost:4000"]).unwrap().listen, "127.0.0.1:4000".parse().unwrap());
        assert_eq!(read(&["--listen", "0.0.0.0:80"]).unwrap().listen, "0.0.0.0:80".parse().unwrap());
        assert_eq!(read(&["--listen", "[::1]:80"]).unwrap().listen, "[::1]:80".parse().unwrap());
    }

    #[test]
    fn an_address_without_a_port_is_answered_with_one_that_has_it() {
        assert!(refused(&["--listen", "0.0.0.0"]).ends_with("the port is missing; write 0.0.0.0:3000"));
        assert!(refused(&["--listen", "::1"]).ends_with("the port is missing; write [::1]:3000"));
        assert!(refused(&["--listen", "70000"]).contains("such as 127.0.0.1:3000"));
    }

    #[test]
    fn a_store_is_chosen_by_its_url() {
        assert_eq!(read(&["--store", "memory:"]).unwrap().store, StoreUrl::Memory);
        #[cfg(feature = "sqlite")]
        for (url, path) in [
            ("sqlite:chat.db", "chat.db"),
            ("sqlite:/var/chat.db", "/var/chat.db"),
            ("sqlite://chat.db", "chat.db"),
            ("sqlite:///var/chat.db", "/var/chat.db"),
        ] {
            assert_eq!(read(&["--store", url]).unwrap().store, StoreUrl::Sqlite(path.into()), "{url}");
        }
    }

    #[test]
    #[cfg(feature = "redis")]
    fn redis_is_one_server_or_a_cluster_or_watched_by_sentinels() {
        let redis = |url: &str| match read(&["--store", url]).unwrap().store {
            StoreUrl::Redis(redis) => redis,
            other => panic!("{other:?}"),
        };
        let strings = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        assert_eq!(redis("rediss://a:1/2"), RedisUrl::One("rediss://a:1/2".to_owned()));
        let nodes = strings(&["redis://u:p@w@a:1", "redis://u:p@w@[::1]:2"]);
        assert_eq!(redis("redis+cluster://u:p@w@a:1,[::1]:2"), RedisUrl::Cluster(nodes));
        assert_eq!(
            redis("redis+sentinel://a:1,b:2/chat"),
            RedisUrl::Sentinel {
                primary: "redis://chat".to_owned(),
                sentinels: strings(&["redis://a:1", "redis://b:2"]),
            }
        );
        assert_eq!(
            redis("rediss+sentinel://u:p@a:1,b:2/chat/3?sentinel_password=s@t"),
            RedisUrl::Sentinel {
                primary: "rediss://u:p@chat/3".to_owned(),
                sentinels: strings(&["rediss://:s@t@a:1", "rediss://:s@t@b:2"]),
            }
        );
        for (url, part) in [
            ("redis+cluster://", "at least one node"),
            ("redis+sentinel://a:1", "redis+sentinel://HOST:PORT,HOST:PORT/NAME"),
            ("redis+sentinel:///chat", "redis+sentinel://HOST:PORT,HOST:PORT/NAME"),
            ("redis+sentinel://a:1/chat?password=s", "password means nothing here"),
        ] {
            let message = refused(&["--store", url]);
            assert!(message.contains(part), "{url}: {message}");
        }
        assert!(!format!("{:?}", redis("redis+sentinel://u:secret@a:1/chat")).contains("secret"));
    }

    #[test]
    fn a_store_that_cannot_be_used_is_told_with_those_that_can() {
        #[cfg(not(feature = "redis"))]
        assert!(
            refused(&["--store", "redis://localhost"]).contains("redis is not compiled into this server")
        );
        #[cfg(not(feature = "sqlite"))]
        assert!(refused(&["--store", "sqlite:a"]).contains("sqlite is not compiled into this server"));
        assert!(refused(&["--store", "chat.db"]).contains("memory:"));
        assert!(refused(&["--store", "sqlite:"]).contains("the path is missing"));
    }

    #[test]
    fn zero_means_no_limit() {
        let config =
            read(&["--requests-per-second=0", "--first-visit=0", "--keep-messages=0", "--keep-days=0"])
                .unwrap();
        assert_eq!(config.requests_per_second, None);
        assert_eq!((config.user_requests_per_second, config.joins_per_second), (None, None));
        assert_eq!(config.notices_per_second, None);
        assert_eq!(
            (config.first_visit_max, config.keep.messages, config.keep.age_max),
            (None, KeptMessages::All, None)
        );
    }

    #[test]
    fn keys_are_kept_for_at_least_seven_days() {
        assert!(refused(&["--keep-keys-days=6"]).contains("from 7 to"));
        assert_eq!(read(&["--keep-keys-days=30"]).unwrap().keep.keys, DAY * 30);
    }

    #[test]
    fn the_largest_content_fits_into_the_largest_packet() {
        let message = refused(&["--packet-bytes=50000"]);
        assert!(
            message.contains("set content-bytes to 48000 or less, or packet-bytes to 67536 or more"),
            "{message}"
        );
        let config = read(&["--packet-bytes=50000", "--content-bytes=48000"]).unwrap();
        assert_eq!((config.packet.bytes, config.packet.content_bytes), (50_000, 48_000));
        assert!(read(&["--packet-bytes=67536"]).is_ok());
    }

    #[test]
    fn an_origin_is_taken_as_a_browser_names_it() {
        let config =
            read(&["--origin", "https://Example.org/", "--origin", "http://localhost:8080"]).unwrap();
        let listed = ["https://example.org", "http://localhost:8080"].map(str::to_owned).to_vec();
        assert_eq!(config.origins, Origins::Listed(listed));
        assert_eq!(
            read(&["--origin", "https://example.org", "--origin", "*"]).unwrap().origins,
            Origins::Any
        );
        for wrong in ["example.org", "https://example.org/chat", "ftp://example.org", "https://"] {
            assert!(refused(&["--origin", wrong]).contains("such as https://chat.example.org"), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_what_would_be_right() {
        for (arguments, part) in [
            (["--requests-per-second", "-1"], "whole number"),
            (["--requests-per-second", "many"], "whole number"),
            (["--keep-days", "1.5"], "whole number of days"),
            (["--rooms", "0"], "from 1 to 10000"),
            (["--attachments", "11"], "from 0 to 10"),
            (["--content-bytes", "64k"], "from 1 to 50000000"),
            (["--packet-bytes", "1000"], "from 4000 to 50000000"),
            (["--ping-interval", "0"], "seconds from 1 to 3600"),
            (["--ping-timeout", "0.5"], "seconds from 1 to 3600"),
            (["--log", "loud=quiet=1"], "write error, warn, info"),
            (["--log-format", "xml"], "write text or json"),
            (["--public-url", "chat"], "such as https://chat.example.org"),
        ] {
            let message = refused(&arguments);
            assert!(message.contains(part), "{message}");
        }
    }
}
