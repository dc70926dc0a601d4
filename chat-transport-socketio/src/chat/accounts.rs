//! [`Accounts`]: who somebody is who shows a token. What a token is, and how it is verified, is the application's.

use std::error::Error;
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{DisplayName, Roles, Timestamp, UserId};

use super::problem::{Code, Problem};

/// A longer token is refused unread: it comes with each CONNECT.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Tells who it is that shows a token: [`ChatSettings::accounts`](super::ChatSettings::accounts).
///
/// Asked with each CONNECT that has a token, before anything else happens, and with each `refresh`.
///
/// ```
/// use std::sync::Arc;
///
/// use async_trait::async_trait;
/// use chat_core::UserId;
/// use chat_transport_socketio::chat::{Account, Accounts, ChatSettings, Unverified};
///
/// /// Two people who know a word each.
/// #[derive(Debug)]
/// struct Table;
///
/// #[async_trait]
/// impl Accounts for Table {
///     async fn account(&self, token: &str) -> Result<Account, Unverified> {
///         let (name, role) = match token {
///             "correct horse" => ("ada", Some("moderator")),
///             "battery staple" => ("bob", None),
///             _ => return Err(Unverified::rejected("this word is nobody's")),
///         };
///         let id = UserId::new(name).map_err(Unverified::rejected)?;
///         Ok(Account::new(id).roles(role.map(str::to_owned)))
///     }
/// }
///
/// let mut settings = ChatSettings::default();
/// settings.accounts = Some(Arc::new(Table));
/// ```
#[async_trait]
pub trait Accounts: Debug + Send + Sync + 'static {
    /// Whose `token` is.
    ///
    /// An id that begins with `guest:` or `~` is nobody's account: such an answer is a refusal.
    ///
    /// # Errors
    /// [`Unverified::Rejected`]: it is not to be accepted, now or later. [`Unverified::Unavailable`]: it cannot be told now. At CONNECT that is waited
    /// out; the client gets no answer meanwhile.
    ///
    /// # Cancellation
    /// It is dropped when the client goes away, or the deadline of the request comes.
    async fn account(&self, token: &str) -> Result<Account, Unverified>;
}

/// Somebody who has an account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Account {
    /// Whose posts these are: the same for every token of the account.
    pub id: UserId,
    /// The name to show. Without one, the id is.
    pub name: Option<DisplayName>,
    /// When the client has to show another token; `None`: never.
    pub expires: Option<Timestamp>,
    /// What the [`Authority`](chat_core::Authority) is told.
    pub roles: Roles,
}

impl Account {
    /// Without name, end and roles.
    pub fn new(id: UserId) -> Self {
        Self { id, name: None, expires: None, roles: Roles::default() }
    }

    /// With a name to show.
    #[must_use]
    pub fn name(mut self, name: DisplayName) -> Self {
        self.name = Some(name);
        self
    }

    /// Until then the client must show another token, or is signed out.
    #[must_use]
    pub fn expires(mut self, at: Timestamp) -> Self {
        self.expires = Some(at);
        self
    }

    /// With these roles.
    #[must_use]
    pub fn roles(mut self, roles: impl IntoIterator<Item = String>) -> Self {
        self.roles = roles.into_iter().collect();
        self
    }
}

/// Why a token is nobody's.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unverified {
    /// It is not accepted. The message is for the client: what is wrong, and what to do about it. It must not repeat the token or tell a secret.
    #[error("{message}")]
    Rejected {
        /// For the developer of the client.
        message: String,
    },
    /// It cannot be told now.
    #[error("tokens cannot be verified now")]
    Unavailable {
        /// Why.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
}

impl Unverified {
    /// [`Unverified::Rejected`] with a message for the client.
    pub fn rejected(message: impl fmt::Display) -> Self {
        Self::Rejected { message: message.to_string() }
    }

    /// [`Unverified::Unavailable`] from any cause, also a text.
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable { source: source.into().into() }
    }
}

/// Whether clients without a token are let in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guests {
    /// As guests.
    #[default]
    Welcome,
    /// They are refused. Only for a chat that has [`Accounts`]: in another one nobody is let in.
    Refused,
}

/// What a client showed to say who it is. Never printed.
#[derive(PartialEq, Eq)]
pub(super) struct Token(String);

impl Token {
    /// From what is in the field.
    pub(super) fn new(text: String) -> Result<Self, Problem> {
        if TOKEN_BYTES_MAX < text.len() {
            return Err(unauthorized(format!("`token` has at most {TOKEN_BYTES_MAX} bytes")));
        }
        Ok(Self(text))
    }
}

impl Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Whose `token` is.
pub(super) async fn verify(accounts: Option<&Arc<dyn Accounts>>, token: &Token) -> Result<Account, Problem> {
    let Some(accounts) = accounts else {
        // Never ignored: the client would be somebody else than it believes.
        return Err(unauthorized(
            "`token`: this server has no key configured to verify tokens with; connect without one",
        ));
    };
    let account = accounts.account(&token.0).await.map_err(|error| match error {
        Unverified::Rejected { message } => unauthorized(format!("`token`: {message}")),
        Unverified::Unavailable { .. } => {
            tracing::debug!(error = &error as &dyn Error, "a token was not verified");
            Problem::new(Code::Unavailable, "tokens cannot be verified now; try again")
        }
    })?;
    if account.id.is_guest() || account.id.is_reserved() {
        return Err(unauthorized("`token`: an account's id begins neither with `guest:` nor with `~`"));
    }
    if account.expires.is_some_and(|expires| expires <= Timestamp::now()) {
        return Err(expired());
    }
    Ok(account)
}

pub(super) fn unauthorized(message: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(Code::Unauthorized, message)
}

pub(super) fn expired() -> Problem {
    unauthorized("the token has expired; get another one")
}

/// How long until `at`, by the system's clock; at least nothing, and at most a day, after which it is to be asked again: clocks are set.
pub(super) fn until(at: Timestamp) -> Duration {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    Duration::from_millis(at.millis().saturating_sub(Timestamp::now().millis())).min(DAY)
}
