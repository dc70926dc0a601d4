//! Who may do what in which room, as a file says it.
//!
//! ```toml
//! [[rule]]
//! room = "staff-*"              # a name, or the beginning of names and a *
//! who = "role:staff"            # everyone, guests, accounts, user:ID, role:NAME; or an array of these
//! allow = ["join", "read", "post", "members"]
//! ```
//!
//! The first rule whose room and people fit decides; where none does, nothing is allowed.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use chat_core::{Action, Authority, RoomId, StoreResult, Who};
use serde::Deserialize;
use toml::Spanned;

/// The rules of one file, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules(Vec<Rule>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    rooms: Pattern,
    who: Vec<People>,
    allow: Vec<Allowed>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Exactly(String),
    Beginning(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum People {
    Everyone,
    Guests,
    Accounts,
    User(String),
    Role(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Allowed {
    Join,
    Read,
    Post,
    Members,
    Manage,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    room: Spanned<String>,
    who: Spanned<OneOrMany>,
    allow: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Rules {
    /// Reads a file's text. The error names the line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| format!("line {}: ", line(text, span.start)));
            format!("{}{}", line.unwrap_or_default(), error.message())
        })?;
        let at = |byte: usize, value: &str, wanted: String| {
            format!("line {}: {value:?} cannot be used: {wanted}", line(text, byte))
        };
        let rules = file.rule.into_iter().map(|Written { room, who, allow }| {
            let rooms = Pattern::parse(room.get_ref());
            let rooms = rooms.map_err(|wanted| at(room.span().start, room.get_ref(), wanted))?;
            let start = who.span().start;
            let who = match who.into_inner() {
                OneOrMany::One(who) => vec![who],
                OneOrMany::Many(who) => who,
            };
            let who = who.iter().map(|who| People::parse(who).map_err(|wanted| at(start, who, wanted)));
            let who = who.collect::<Result<_, String>>()?;
            let allow = allow.iter().map(|allowed| {
                let text = allowed.get_ref();
                Allowed::parse(text).map_err(|wanted| at(allowed.span().start, text, wanted))
            });
            Ok(Rule { rooms, who, allow: allow.collect::<Result<_, String>>()? })
        });
        Ok(Self(rules.collect::<Result<_, String>>()?))
    }

    fn allow(&self, who: &Who, room: &RoomId, action: Action) -> bool {
        let rule = self
            .0
            .iter()
            .find(|rule| rule.rooms.fits(room.as_str()) && rule.who.iter().any(|people| people.include(who)));
        rule.is_some_and(|rule| rule.allow.iter().any(|allowed| allowed.covers(action)))
    }
}

/// The number of the line that holds a byte.
fn line(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|byte| *byte == b'\n').count() + 1
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        const WANTED: &str = "write a room's name, or the beginning of names and one * at the end";
        match text.split_once('*') {
            Some((beginning, "")) => Ok(Self::Beginning(beginning.to_owned())),
            None if RoomId::reserved(text).is_ok() => Ok(Self::Exactly(text.to_owned())),
            _ => Err(WANTED.to_owned()),
        }
    }

    fn fits(&self, room: &str) -> bool {
        match self {
            Self::Exactly(name) => name == room,
            Self::Beginning(beginning) => room.starts_with(beginning),
        }
    }
}

impl People {
    fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "everyone" => Ok(Self::Everyone),
            None if text == "guests" => Ok(Self::Guests),
            None if text == "accounts" => Ok(Self::Accounts),
            Some(("user", id)) if !id.is_empty() => Ok(Self::User(id.to_owned())),
            Some(("role", name)) if !name.is_empty() => Ok(Self::Role(name.to_owned())),
            _ => Err("write everyone, guests, accounts, user:ID or role:NAME".to_owned()),
        }
    }

    fn include(&self, who: &Who) -> bool {
        match self {
            Self::Everyone => true,
            Self::Guests => who.id.is_guest(),
            Self::Accounts => !who.id.is_guest(),
            Self::User(id) => who.id.as_str() == id,
            Self::Role(name) => who.roles.contain(name),
        }
    }
}

impl Allowed {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "join" => Ok(Self::Join),
            "read" => Ok(Self::Read),
            "post" => Ok(Self::Post),
            "members" => Ok(Self::Members),
            "manage" => Ok(Self::Manage),
            _ => Err("write join, read, post, members or manage".to_owned()),
        }
    }

    /// What is not known here is allowed to nobody.
    fn covers(self, action: Action) -> bool {
        match self {
            Self::Join => matches!(action, Action::Join | Action::Resume),
            Self::Read => action == Action::History,
            Self::Post => action == Action::Post,
            Self::Members => action == Action::SeeMembers,
            Self::Manage => action == Action::Manage,
        }
    }
}

/// The rules that hold now.
#[derive(Clone, Debug)]
pub(crate) struct InForce(Arc<RwLock<Rules>>);

impl InForce {
    pub(crate) fn new(rules: Rules) -> Self {
        Self(Arc::new(RwLock::new(rules)))
    }

    /// Reads the file again. If it cannot be used, what held goes on holding. Who is in a room already stays there.
    pub(crate) fn reload(&self, path: &Path) -> Result<(), String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let rules = Rules::parse(&text)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = rules;
        Ok(())
    }
}

#[async_trait]
impl Authority for InForce {
    async fn allows(&self, who: &Who, room: &RoomId, action: Action) -> StoreResult<bool> {
        Ok(self.0.read().unwrap_or_else(PoisonError::into_inner).allow(who, room, action))
    }
}

#[cfg(test)]
mod tests {
    use chat_core::UserId;

    use super::*;

    const RULES: &str = r#"
        [[rule]]
        room = "news"
        who = "role:editor"
        allow = ["join", "read", "post"]

        [[rule]]
        room = "news"
        who = "everyone"
        allow = ["join", "read"]

        [[rule]]
        room = "staff-*"
        who = ["role:staff", "user:ada"]
        allow = ["join", "read", "post", "members", "manage"]

        [[rule]]
        room = "staff-*"
        who = "everyone"
        allow = []

        [[rule]]
        room = "*"
        who = "accounts"
        allow = ["join", "read", "post", "members"]

        [[rule]]
        room = "lobby"
        who = "guests"
        allow = ["join", "post"]
    "#;

    fn who(id: &str, roles: &[&str]) -> Who {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        Who { id: UserId::new(id).unwrap(), roles }
    }

    #[test]
    fn the_first_rule_that_fits_decides_and_without_one_nothing_is_allowed() {
        let rules = Rules::parse(RULES).unwrap();
        let may = |who: &Who, room: &str, action| rules.allow(who, &RoomId::new(room).unwrap(), action);
        let (editor, bob, guest) = (who("eve", &["editor"]), who("bob", &[]), who("guest:x", &[]));
        assert!(may(&editor, "news", Action::Post) && !may(&bob, "news", Action::Post));
        assert!(
            may(&guest, "news", Action::Join)
                && may(&guest, "news", Action::Resume)
                && may(&guest, "news", Action::History)
        );
        assert!(!may(&guest, "news", Action::SeeMembers));
        for member in [who("ada", &[]), who("x", &["staff"])] {
            assert!(may(&member, "staff-only", Action::Manage) && may(&member, "staff-", Action::Post));
        }
        assert!(!may(&bob, "staff-only", Action::Join), "an earlier rule decides, also against somebody");
        assert!(may(&bob, "staff", Action::Join), "the beginning is not there in full");
        assert!(!may(&bob, "lobby", Action::Manage));
        assert!(may(&guest, "lobby", Action::Post) && !may(&guest, "lobby", Action::History));
        assert!(!may(&guest, "other", Action::Join));
        assert!(!Rules::parse("").unwrap().allow(&bob, &RoomId::new("a").unwrap(), Action::Join));
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_line() {
        let rule = |room: &str, who: &str, allow: &str| {
            format!("# rules\n[[rule]]\nroom = {room}\nwho = {who}\nallow = {allow}\n")
        };
        for (text, expected) in [
            (rule("'a*b'", "'everyone'", "[]"), "line 3: \"a*b\" cannot be used: write a room's name"),
            (rule("''", "'everyone'", "[]"), "line 3: \"\" cannot be used: write a room's name"),
            (rule("'a'", "'nobody'", "[]"), "line 4: \"nobody\" cannot be used: write everyone, guests"),
            (rule("'a'", "['everyone', 'user:']", "[]"), "line 4: \"user:\" cannot be used"),
            (
                rule("'a'", "'everyone'", "['join',\n'write']"),
                "line 6: \"write\" cannot be used: write join, read",
            ),
            (rule("'a'", "'everyone'", "'join'"), "line 5: "),
            (rule("7", "'everyone'", "[]"), "line 3: "),
            ("[[rule]]\nroom = 'a'\n".to_owned(), "line 1: "),
            (format!("{}deny = []", rule("'a'", "'everyone'", "[]")), "line 6: unknown field `deny`"),
            ("[rules]".to_owned(), "line 1: unknown field `rules`"),
            ("\n\nrule = [".to_owned(), "line 3: "),
        ] {
            let error = Rules::parse(&text).unwrap_err();
            assert!(error.starts_with(expected), "{error:?} for {text}");
        }
    }
}
