//! Where a setting's value comes from: a flag, else an environment variable, else the configuration file.
//!
//! One table names every setting once; flags, variables and file keys follow from it. What the values mean, and their defaults, is in
//! `config.rs`. Nothing is read here but what the caller hands in.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};

/// One setting: `listen` is `--listen`, `CHAT_LISTEN`, and `listen` in the file.
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    value: &'static str,
    help: &'static str,
    topic: &'static str,
    /// May be given several times; separated by commas in a variable, an array in the file.
    many: bool,
    /// Every user of the machine sees the command line of a process: there is no flag for it, and no message repeats it.
    is_secret: bool,
}

const fn one(topic: &'static str, name: &'static str, value: &'static str, help: &'static str) -> Setting {
    Setting { name, value, help, topic, many: false, is_secret: false }
}

const fn many(topic: &'static str, name: &'static str, value: &'static str, help: &'static str) -> Setting {
    Setting { many: true, ..one(topic, name, value, help) }
}

const PLACE: &str = "Where it is";
const KEPT: &str = "What is kept";
const ACCOUNTS: &str = "Accounts and permission";
const LIMITS: &str = "Limits";
const LOG: &str = "Log";

/// Every setting but `config`, which says where the file is; in the order of `--help`, topic by topic.
pub(crate) const SETTINGS: &[Setting] = &[
    one(
        PLACE,
        "listen",
        "ADDR:PORT",
        "Where to listen; a port alone means this machine only [default: 127.0.0.1:3000]",
    ),
    one(
        PLACE,
        "public-url",
        "URL",
        "The address people open, where it is not that of --listen; other names are not believed then",
    ),
    Setting {
        name: "origin",
        value: "ORIGIN",
        help: "Another site whose pages may connect, such as https://example.org; * for any. May be repeated",
        topic: PLACE,
        many: true,
        is_secret: false,
    },
    one(
        KEPT,
        "store",
        "URL",
        "Kept in sqlite:PATH, redis[+cluster|+sentinel]://HOST:PORT or memory: [default: sqlite:chat.db]",
    ),
    one(KEPT, "keep-messages", "N", "Newest messages kept in each room; 0: all [default: 0, in Redis 10000]"),
    one(KEPT, "keep-days", "DAYS", "Days for which messages are kept; 0: for ever [default: 0]"),
    one(
        KEPT,
        "keep-keys-days",
        "DAYS",
        "Days for which a repeat of a message that is no longer kept is known; 7 or more [default: 7]",
    ),
    one(
        KEPT,
        "replicas",
        "N",
        "Replicas of Redis that must have a message before it is acknowledged [default: 0]",
    ),
    one(
        ACCOUNTS,
        "token-secret-file",
        "PATH",
        "A file with the secret that tokens (JWT) are signed with by HS256; or CHAT_TOKEN_SECRET is the secret itself",
    ),
    Setting {
        is_secret: true,
        ..one(ACCOUNTS, "token-secret", "SECRET", "The secret that tokens are signed with by HS256")
    },
    one(
        ACCOUNTS,
        "token-public-key",
        "PATH",
        "A file with the Ed25519 key that tokens are verified with, which are signed by EdDSA: PEM or JWK",
    ),
    many(ACCOUNTS, "token-audience", "NAME", "Whom tokens must be for (aud): one of these. May be repeated"),
    many(ACCOUNTS, "token-issuer", "NAME", "Whom tokens must be from (iss): one of these. May be repeated"),
    one(ACCOUNTS, "token-skew", "SECONDS", "By how much the clock of their issuer may differ [default: 30]"),
    one(ACCOUNTS, "token-expiry", "required|optional", "Whether a token must end (exp) [default: required]"),
    one(
        ACCOUNTS,
        "token-notice",
        "SECONDS",
        "How long before its token ends a client is told so [default: 60]",
    ),
    one(
        ACCOUNTS,
        "guests",
        "welcome|refused",
        "Whether clients without a token are let in [default: welcome]",
    ),
    one(
        ACCOUNTS,
        "rules",
        "PATH",
        "A TOML file that says who may do what in which room; read again on SIGHUP [default: all but manage]",
    ),
    one(
        LIMITS,
        "requests-per-second",
        "N",
        "Requests a connection may make, in bursts of four times as many; 0: no limit [default: 50]",
    ),
    one(
        LIMITS,
        "user-requests-per-second",
        "N",
        "The same for all connections of a user together; 0: no limit [default: four times as many]",
    ),
    one(
        LIMITS,
        "joins-per-second",
        "N",
        "Rooms a connection may join, in bursts of as many as it may be in; 0: no limit [default: 20]",
    ),
    one(
        LIMITS,
        "notices-per-second",
        "N",
        "Typing notices and changes of name a user may make, in such bursts; 0: no limit [default: 5]",
    ),
    one(LIMITS, "user-connections", "N", "Connections of a user at a time; 0: no limit [default: 100]"),
    one(
        LIMITS,
        "first-visit",
        "N",
        "Newest messages that are sent to whoever begins at the start of a room; 0: all [default: 0]",
    ),
    one(LIMITS, "rooms", "N", "Rooms a connection may be in [default: 100]"),
    one(
        LIMITS,
        "user-rooms",
        "N",
        "Rooms that may be a user's own, over all its connections [default: 1000]",
    ),
    one(LIMITS, "content-bytes", "BYTES", "The content of a message, attachments included [default: 65536]"),
    one(LIMITS, "packet-bytes", "BYTES", "What a client may send at once [default: 1000000]"),
    one(LIMITS, "attachments", "N", "Binary attachments of a message; 10 at most [default: 10]"),
    one(LIMITS, "ping-interval", "SECONDS", "How often a client is asked whether it is there [default: 25]"),
    one(LIMITS, "ping-timeout", "SECONDS", "How long its answer may take [default: 20]"),
    one(
        LOG,
        "log",
        "LEVEL",
        "error, warn, info, debug, trace, or a list such as info,chat_core=debug [default: info]",
    ),
    one(LOG, "log-format", "text|json", "How log lines are written [default: text]"),
];

/// The values given for the settings, each with the place it was given in.
#[derive(Debug)]
pub(crate) struct Given(BTreeMap<&'static str, Value>);

struct Value {
    /// What to call the place in a message: `--listen`, `CHAT_LISTEN`, `listen in chat.toml`.
    place: String,
    parts: Vec<String>,
    is_secret: bool,
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: &[String] = if self.is_secret { &[] } else { &self.parts };
        f.debug_struct("Value").field("place", &self.place).field("parts", &parts).finish()
    }
}

/// Why the server cannot start with what it was given. The message says what to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Not an error: what was asked for (help, version) is to be printed.
    Information(String),
    /// A usage message of the command line, complete with its hints.
    Usage(String),
    Setting(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Information(text) | Self::Usage(text) => out.write_str(text.trim_end()),
            Self::Setting(text) => write!(out, "error: {text}"),
        }
    }
}

impl Given {
    /// Reads the three sources. `arguments` begins with the program's name.
    pub(crate) fn gather(
        arguments: &[String],
        variable: impl Fn(&str) -> Option<String>,
        read_file: impl Fn(&Path) -> std::io::Result<String>,
    ) -> Result<Self, Refused> {
        let flags = command().try_get_matches_from(arguments).map_err(|error| {
            let text = error.render().to_string();
            if error.use_stderr() { Refused::Usage(text) } else { Refused::Information(text) }
        })?;
        let mut given = BTreeMap::new();

        let config = flags.get_one::<String>("config").cloned().or_else(|| variable("CHAT_CONFIG"));
        if let Some(path) = config.filter(|path| !path.is_empty()) {
            let path = PathBuf::from(path);
            let text = read_file(&path).map_err(|error| {
                Refused::Setting(format!("the configuration file {} cannot be read: {error}", path.display()))
            })?;
            read_toml(&path, &text, &mut given)?;
        }
        // What hosting platforms set; it says nothing about the address.
        if let Some(port) = variable("PORT").filter(|port| !port.is_empty()) {
            given.insert("listen", Value { place: "PORT".to_owned(), parts: vec![port], is_secret: false });
        }
        for setting in SETTINGS {
            let name = variable_name(setting.name);
            if let Some(text) = variable(&name).filter(|text| !text.is_empty()) {
                let parts = if setting.many {
                    text.split(',').map(|part| part.trim().to_owned()).collect()
                } else {
                    vec![text]
                };
                given.insert(setting.name, Value { place: name, parts, is_secret: setting.is_secret });
            }
            if setting.is_secret {
                continue;
            }
            if let Some(values) = flags.get_many::<String>(setting.name) {
                let place = format!("--{}", setting.name);
                let value = Value { place, parts: values.cloned().collect(), is_secret: false };
                given.insert(setting.name, value);
            }
        }
        Ok(Self(given))
    }

    /// Whether a setting was given a value.
    pub(crate) fn has(&self, name: &'static str) -> bool {
        debug_assert!(SETTINGS.iter().any(|setting| setting.name == name), "{name} is not in the table");
        self.0.contains_key(name)
    }

    /// The value of a setting read by `parse`, or `default` if it was not given. `parse` answers with what would have been right.
    pub(crate) fn read<T>(
        &self,
        name: &'static str,
        default: T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Refused> {
        debug_assert!(SETTINGS.iter().any(|setting| setting.name == name), "{name} is not in the table");
        let Some(value) = self.0.get(name) else { return Ok(default) };
        let [text] = value.parts.as_slice() else {
            return Err(Refused::Setting(format!("{} takes one value", value.place)));
        };
        parse(text).map_err(|wanted| value.refuse(text, &wanted))
    }

    /// All values of a setting that may be given several times.
    pub(crate) fn read_all<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, Refused> {
        let Some(value) = self.0.get(name) else { return Ok(Vec::new()) };
        value.parts.iter().map(|text| parse(text).map_err(|wanted| value.refuse(text, &wanted))).collect()
    }
}

impl Value {
    fn refuse(&self, text: &str, wanted: &str) -> Refused {
        match self.is_secret {
            true => Refused::Setting(format!("{} cannot be used: {wanted}", self.place)),
            false => Refused::Setting(format!("{}: {text:?} cannot be used: {wanted}", self.place)),
        }
    }
}

fn command() -> Command {
    let mut command = Command::new("chat-server")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Chat in which no message is lost, repeated or reordered.\n\nStarted without options it keeps its messages in ./chat.db and can be opened at http://localhost:3000.")
        .after_help(
            "Every option is also an environment variable (CHAT_LISTEN for --listen) and a key of the configuration file\n(listen = \"127.0.0.1:3000\"). A flag wins over a variable, a variable over the file.\nPORT is read as a port to listen on, where neither --listen nor CHAT_LISTEN is given.",
        )
        .max_term_width(110)
        .arg(argument("config", "FILE", "A TOML file with settings").action(ArgAction::Set));
    for setting in SETTINGS.iter().filter(|setting| !setting.is_secret) {
        let action = if setting.many { ArgAction::Append } else { ArgAction::Set };
        let argument = argument(setting.name, setting.value, setting.help);
        command = command.arg(argument.help_heading(setting.topic).action(action));
    }
    command
}

fn argument(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    // A negative number is a value, and a wrong one; it should be told so.
    Arg::new(name).long(name).value_name(value).help(help).allow_negative_numbers(true)
}

fn variable_name(setting: &str) -> String {
    format!("CHAT_{}", setting.to_ascii_uppercase().replace('-', "_"))
}

fn read_toml(path: &Path, text: &str, given: &mut BTreeMap<&'static str, Value>) -> Result<(), Refused> {
    let table: toml::Table = text
        .parse()
        .map_err(|error| Refused::Setting(format!("{} is not valid TOML: {error}", path.display())))?;
    for (key, value) in table {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.name == key) else {
            let hint = nearest(&key).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            return Err(Refused::Setting(format!("{} has an unknown key `{key}`{hint}", path.display())));
        };
        let place = format!("{} in {}", setting.name, path.display());
        let parts = match value {
            toml::Value::Array(values) if setting.many => values.into_iter().map(plain).collect(),
            single => plain(single).map(|text| vec![text]),
        };
        let parts = parts.ok_or_else(|| {
            let wanted =
                if setting.many { "a string or an array of strings" } else { "a string or a number" };
            Refused::Setting(format!("{place} must be {wanted}"))
        })?;
        given.insert(setting.name, Value { place, parts, is_secret: setting.is_secret });
    }
    Ok(())
}

fn plain(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The setting whose name is most like `key`, if one is like it at all.
fn nearest(key: &str) -> Option<&'static str> {
    let key = key.to_ascii_lowercase().replace('_', "-");
    SETTINGS
        .iter()
        .map(|setting| (edits(&key, setting.name), setting.name))
        .min()
        .filter(|(edits, name)| *edits <= name.len().div_ceil(3))
        .map(|(_, name)| name)
}

/// How many characters must be inserted, removed or replaced to make one string the other.
fn edits(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, character) in one.chars().enumerate() {
        let mut before = index;
        let mut left = index + 1;
        let mut next = vec![left];
        for (&expected, &above) in other.iter().zip(row.iter().skip(1)) {
            left = (before + usize::from(character != expected)).min(above + 1).min(left + 1);
            before = above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &str) -> Option<String> {
        None
    }

    fn no_file(_: &Path) -> std::io::Result<String> {
        panic!("no file was named")
    }

    fn arguments(rest: &[&str]) -> Vec<String> {
        ["chat-server"].iter().chain(rest).map(|text| (*text).to_owned()).collect()
    }

    fn from_file(text: &str) -> Result<Given, Refused> {
        Given::gather(&arguments(&["--config", "chat.toml"]), nothing, |_| Ok(text.to_owned()))
    }

    fn listen(given: &Given) -> String {
        given.read("listen", "default".to_owned(), |text| Ok(text.to_owned())).unwrap()
    }

    #[test]
    fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
        let variables = |name: &str| (name == "CHAT_LISTEN").then(|| "variable".to_owned());
        let file = |_: &Path| Ok("listen = 'file'".to_owned());
        let all = arguments(&["--config=chat.toml", "--listen", "flag"]);
        assert_eq!(listen(&Given::gather(&all, variables, file).unwrap()), "flag");
        let two = arguments(&["--config=chat.toml"]);
        assert_eq!(listen(&Given::gather(&two, variables, file).unwrap()), "variable");
        assert_eq!(listen(&Given::gather(&two, nothing, file).unwrap()), "file");
        assert_eq!(listen(&Given::gather(&arguments(&[]), nothing, no_file).unwrap()), "default");
    }

    #[test]
    fn port_is_read_where_nothing_else_says_where_to_listen() {
        let port = |name: &str| (name == "PORT").then(|| "8080".to_owned());
        assert_eq!(listen(&Given::gather(&arguments(&[]), port, no_file).unwrap()), "8080");
        let both = |name: &str| matches!(name, "PORT" | "CHAT_LISTEN").then(|| name.to_owned());
        assert_eq!(listen(&Given::gather(&arguments(&[]), both, no_file).unwrap()), "CHAT_LISTEN");
    }

    #[test]
    fn the_file_may_be_named_by_a_variable() {
        let variable = |name: &str| (name == "CHAT_CONFIG").then(|| "/etc/chat.toml".to_owned());
        let read = |path: &Path| {
            assert_eq!(path, Path::new("/etc/chat.toml"));
            Ok("listen = 4000".to_owned())
        };
        assert_eq!(listen(&Given::gather(&arguments(&[]), variable, read).unwrap()), "4000");
    }

    #[test]
    fn an_empty_variable_counts_as_absent() {
        let empty = |_: &str| Some(String::new());
        assert_eq!(listen(&Given::gather(&arguments(&[]), empty, no_file).unwrap()), "default");
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_known_name() {
        for (key, meant) in
            [("listn", "listen"), ("requests_per_second", "requests-per-second"), ("Keep-Day", "keep-days")]
        {
            let Err(Refused::Setting(message)) = from_file(&format!("{key} = 1")) else {
                panic!("{key} was taken")
            };
            assert_eq!(message, format!("chat.toml has an unknown key `{key}`; did you mean `{meant}`?"));
        }
        let Err(Refused::Setting(message)) = from_file("colour = 1") else { panic!("it was taken") };
        assert_eq!(message, "chat.toml has an unknown key `colour`");
    }

    #[test]
    fn a_file_that_is_not_toml_or_has_a_value_of_another_kind_is_refused() {
        for (text, part) in [
            ("listen = ", "not valid TOML"),
            ("listen = true", "listen in chat.toml must be a string or a number"),
            ("listen = ['a']", "listen in chat.toml must be a string or a number"),
            ("origin = [['a']]", "an array of strings"),
        ] {
            let message = from_file(text).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let missing = |_: &Path| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
        let refused = Given::gather(&arguments(&["--config", "gone.toml"]), nothing, missing).unwrap_err();
        assert!(
            refused.to_string().starts_with("error: the configuration file gone.toml cannot be read"),
            "{refused}"
        );
    }

    #[test]
    fn several_origins_come_from_each_source() {
        let read = |given: Given| given.read_all("origin", |text| Ok::<_, String>(text.to_owned())).unwrap();
        let flags = arguments(&["--origin", "https://a", "--origin", "https://b"]);
        assert_eq!(read(Given::gather(&flags, nothing, no_file).unwrap()), ["https://a", "https://b"]);
        let variable = |name: &str| (name == "CHAT_ORIGIN").then(|| "https://a, https://b".to_owned());
        assert_eq!(
            read(Given::gather(&arguments(&[]), variable, no_file).unwrap()),
            ["https://a", "https://b"]
        );
        assert_eq!(
            read(from_file("origin = ['https://a', 'https://b']").unwrap()),
            ["https://a", "https://b"]
        );
        assert_eq!(read(from_file("origin = 'https://a'").unwrap()), ["https://a"]);
    }

    #[test]
    fn an_unknown_flag_is_refused_and_help_is_not_an_error() {
        assert!(matches!(
            Given::gather(&arguments(&["--listn", "1"]), nothing, no_file),
            Err(Refused::Usage(_))
        ));
        let Err(Refused::Information(help)) = Given::gather(&arguments(&["--help"]), nothing, no_file) else {
            panic!("help is printed")
        };
        for setting in SETTINGS {
            let told = match setting.is_secret {
                true => variable_name(setting.name),
                false => format!("--{} <", setting.name),
            };
            assert!(help.contains(&told), "{}", setting.name);
        }
    }

    #[test]
    fn a_secret_has_no_flag_and_is_not_repeated() {
        let flags = arguments(&["--token-secret", "hunter2"]);
        assert!(matches!(Given::gather(&flags, nothing, no_file), Err(Refused::Usage(_))));
        let variable = |name: &str| (name == "CHAT_TOKEN_SECRET").then(|| "hunter2".to_owned());
        let given = Given::gather(&arguments(&[]), variable, no_file).unwrap();
        let refused = given.read("token-secret", 0, |_| Err("it is too short".to_owned())).unwrap_err();
        assert_eq!(refused.to_string(), "error: CHAT_TOKEN_SECRET cannot be used: it is too short");
        assert!(!format!("{given:?}").contains("hunter2"));
    }

    #[test]
    fn a_refused_value_names_its_place_and_what_would_be_right() {
        let given = Given::gather(&arguments(&["--listen", "here"]), nothing, no_file).unwrap();
        let refused = given.read("listen", 0, |_| Err("a number is wanted".to_owned())).unwrap_err();
        assert_eq!(refused.to_string(), "error: --listen: \"here\" cannot be used: a number is wanted");
    }
}
