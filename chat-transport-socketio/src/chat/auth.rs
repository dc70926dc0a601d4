//! What a client says when it connects: the `auth` object. Pure; who it is by that is decided in `identity.rs`.

use std::fmt;

use chat_core::{DisplayName, Offset, RoomId, Since};

use super::accounts::{Token, unauthorized};
use super::fields::{self, Fields, invalid_field};
use super::problem::Problem;

/// Characters of a guest's secret: fewer can be guessed.
const SECRET_CHARACTERS_MIN: usize = 16;
const SECRET_CHARACTERS_MAX: usize = 128;

/// What a client said when it connected.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hello {
    /// With it, what is said of a guest does not count.
    pub(super) token: Option<Token>,
    pub(super) guest: Option<Secret>,
    pub(super) name: Option<DisplayName>,
    pub(super) protocol: Protocol,
}

/// Which of the two protocols a connection speaks, and where it resumes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// The tutorial's: in the default room from the start.
    Tutorial {
        /// Where in it.
        since: Since,
    },
    /// The full one: in these rooms from the start.
    Full {
        /// Each with its place.
        rooms: Vec<(RoomId, Since)>,
    },
}

/// A guest's secret: whoever has it is that guest. Never shown.
#[derive(PartialEq, Eq)]
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Hello {
    /// Reads the JSON object that came with CONNECT, if one did.
    pub(super) fn parse(auth: Option<&str>) -> Result<Self, Problem> {
        let fields = Fields::parse("auth", auth.unwrap_or("{}"))?;
        let token = fields.text("token").map_err(|_| unauthorized("`token` must be a string"))?;
        let token = token.map(Token::new).transpose()?;
        let (guest, name) = match &token {
            // The name of an account is its own, whatever the client says.
            Some(_) => (None, None),
            None => (secret(&fields)?, name(&fields)?),
        };
        Ok(Self { token, guest, name, protocol: protocol(&fields)? })
    }
}

fn secret(fields: &Fields<'_>) -> Result<Option<Secret>, Problem> {
    let Some(secret) = fields.text("guest")? else { return Ok(None) };
    if !(SECRET_CHARACTERS_MIN..=SECRET_CHARACTERS_MAX).contains(&secret.chars().count()) {
        return Err(Problem::bad_request(format!(
            "`guest` must have {SECRET_CHARACTERS_MIN} to {SECRET_CHARACTERS_MAX} characters"
        )));
    }
    Ok(Some(Secret(secret)))
}

fn name(fields: &Fields<'_>) -> Result<Option<DisplayName>, Problem> {
    let Some(name) = fields.text("name")? else { return Ok(None) };
    DisplayName::new(&name).map(Some).map_err(|invalid| invalid_field("name", &invalid))
}

fn protocol(fields: &Fields<'_>) -> Result<Protocol, Problem> {
    let Some(rooms) = fields.raw("rooms") else {
        return Ok(Protocol::Tutorial { since: server_offset(fields.raw("serverOffset")) });
    };
    let rooms = Fields::parse("`rooms`", rooms)?;
    let rooms = rooms.iter().map(|(name, json)| {
        let room = RoomId::from_client(name).map_err(|invalid| invalid_field("rooms", &invalid))?;
        Ok((room, fields::place(&format!("rooms.{name}"), json)?))
    });
    Ok(Protocol::Full { rooms: rooms.collect::<Result<_, Problem>>()? })
}

/// The tutorial's position. Its clients send whatever they have there, so nothing is refused.
fn server_offset(json: Option<&str>) -> Since {
    let Some(json) = json else { return Since::Start };
    let digits = match serde_json::from_str::<String>(json) {
        Ok(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text,
        Ok(_) => String::new(),
        Err(_) => json.to_owned(),
    };
    match digits.parse().ok().and_then(Offset::new) {
        Some(offset) => Since::Offset(offset),
        None => {
            tracing::info!(
                kind = kind_of(json),
                "serverOffset is no offset; the client gets the room from the start"
            );
            Since::Start
        }
    }
}

/// What sort of JSON value it is. The value itself does not belong into a log.
fn kind_of(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "number",
    }
}

#[cfg(test)]
mod tests {
    use super::super::problem::Code;
    use super::*;

    fn offset(number: u64) -> Since {
        Since::Offset(Offset::new(number).unwrap())
    }

    fn since(auth: &str) -> Since {
        match Hello::parse(Some(auth)).unwrap().protocol {
            Protocol::Tutorial { since } => since,
            full => panic!("{full:?}"),
        }
    }

    #[test]
    fn without_auth_a_client_speaks_the_tutorials_protocol_from_the_start() {
        for auth in [None, Some("{}"), Some(r#"{"guest":null,"name":null,"token":null,"unknown":[1]}"#)] {
            let hello = Hello::parse(auth).unwrap();
            let protocol = Protocol::Tutorial { since: Since::Start };
            assert_eq!(hello, Hello { token: None, guest: None, name: None, protocol });
        }
    }

    #[test]
    fn a_server_offset_that_is_none_counts_as_absent() {
        for (json, expected) in [
            ("0", offset(0)),
            ("17", offset(17)),
            ("\"17\"", offset(17)),
            ("\"007\"", offset(7)),
            ("9007199254740991", offset((1 << 53) - 1)),
            ("9007199254740992", Since::Start),
            ("99999999999999999999999", Since::Start),
            ("-1", Since::Start),
            ("\"-1\"", Since::Start),
            ("\"+1\"", Since::Start),
            ("1.5", Since::Start),
            ("1e3", Since::Start),
            ("\"1e3\"", Since::Start),
            ("\" 1\"", Since::Start),
            ("\"\"", Since::Start),
            ("\"\\ud800\"", Since::Start),
            ("\"undefined\"", Since::Start),
            ("null", Since::Start),
            ("true", Since::Start),
            ("{}", Since::Start),
            ("[17]", Since::Start),
        ] {
            assert_eq!(since(&format!(r#"{{"serverOffset":{json}}}"#)), expected, "{json}");
        }
    }

    #[test]
    fn rooms_even_none_ask_for_the_full_protocol() {
        let full = |rooms| Protocol::Full { rooms };
        assert_eq!(Hello::parse(Some(r#"{"rooms":{},"serverOffset":3}"#)).unwrap().protocol, full(vec![]));
        let auth = r#"{"rooms":{"a":5,"b":"a1.17.ff"}}"#;
        let b = Since::Bookmark("a1.17.ff".parse().unwrap());
        let rooms = vec![(RoomId::new("a").unwrap(), offset(5)), (RoomId::new("b").unwrap(), b)];
        assert_eq!(Hello::parse(Some(auth)).unwrap().protocol, full(rooms));
    }

    #[test]
    fn malformed_auth_is_refused_and_names_the_field() {
        for (auth, message) in [
            (r#"{"guest":"too short"}"#, "`guest` must have 16 to 128 characters"),
            (r#"{"guest":1234567890123456}"#, "`guest` must be a string"),
            (r#"{"name":""}"#, "`name`: a display name must not be empty"),
            (r#"{"name":["x"]}"#, "`name` must be a string"),
            (r#"{"rooms":null}"#, "`rooms` must be an object"),
            (r#"{"rooms":["general"]}"#, "`rooms` must be an object"),
            (r#"{"rooms":{"~x":0}}"#, "`rooms`: room names that begin with `dm:` or `~` are reserved"),
            (r#"{"rooms":{"a":null}}"#, "`rooms.a` must be a `pos` as the server gave it, or an offset"),
            (r#"{"rooms":{"a":-1}}"#, "`rooms.a` must be a `pos` as the server gave it, or an offset"),
        ] {
            assert_eq!(Hello::parse(Some(auth)), Err(Problem::bad_request(message)), "{auth}");
        }
        let long = format!(r#"{{"guest":"{}"}}"#, "x".repeat(129));
        assert!(Hello::parse(Some(&long)).is_err());
    }

    #[test]
    fn a_token_is_never_taken_for_nothing() {
        for token in
            ["7".to_owned(), "{}".to_owned(), "[\"a\"]".to_owned(), format!("\"{}\"", "x".repeat(8_193))]
        {
            let problem = Hello::parse(Some(&format!(r#"{{"token":{token}}}"#))).unwrap_err();
            assert_eq!((problem.code, problem.is_passing()), (Code::Unauthorized, false));
        }
        for token in ["\"ey.x.y\"", "\"\""] {
            assert!(Hello::parse(Some(&format!(r#"{{"token":{token}}}"#))).unwrap().token.is_some());
        }
    }

    #[test]
    fn with_a_token_nothing_that_is_said_of_a_guest_counts() {
        let auth = r#"{"token":"t","guest":"short","name":"Somebody else"}"#;
        let hello = Hello::parse(Some(auth)).unwrap();
        assert_eq!((hello.guest, hello.name), (None, None));
        assert!(!format!("{:?}", hello.token).contains("\"t\""));
    }

    #[test]
    fn a_secret_is_not_shown_by_debug() {
        let hello = Hello::parse(Some(r#"{"guest":"0123456789abcdef"}"#)).unwrap();
        assert!(!format!("{hello:?}").contains("0123456789"));
    }
}
